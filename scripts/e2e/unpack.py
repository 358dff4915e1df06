"""Takes the ELF kernel out of an x86 bzImage (Linux Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length)."""
import lzma
import struct
import subprocess
import sys

image = open(sys.argv[1], "rb").read()
offset, length = struct.unpack_from("<II", image, 0x248)
start = ((image[0x1F1] or 4) + 1) * 512 + offset
payload = image[start : start + length - 4]  # the last four bytes are the unpacked size
if payload[:6] == b"\xfd7zXZ\0":
    kernel = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)
else:
    kernel = subprocess.run(["lz4", "-dqc"], input=payload, stdout=subprocess.PIPE, check=True).stdout
open(sys.argv[2], "wb").write(kernel)
