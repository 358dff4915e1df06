package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// WriteFrame writes one frame of ExecProtocol.
func WriteFrame(w io.Writer, kind byte, content []byte) error {
	head := make([]byte, 5, 5+len(content))
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(content)))
	_, err := w.Write(append(head, content...))
	return err
}

// ReadFrame reads one frame of ExecProtocol.
func ReadFrame(r io.Reader) (kind byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxExecFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes; at most %d", n, MaxExecFrame)
	}
	content = make([]byte, n)
	_, err = io.ReadFull(r, content)
	return head[0], content, err
}
