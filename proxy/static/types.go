package static

import (
	"path"
	"strings"
)

// contentType of a file by its name: the same on every machine, whatever /etc/mime.types says, and never by content, which
// would make a page of an uploaded text.
func (h *Handler) contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := h.config.Types[ext]; ok {
		return t
	}
	if t, ok := h.types[ext]; ok {
		return t
	}
	return "application/octet-stream"
}

// types of the web, by extension; text says that it is UTF-8.
func types() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".xhtml": "application/xhtml+xml",
		".css": "text/css; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".txt": "text/plain; charset=utf-8",
		".md": "text/markdown; charset=utf-8", ".ics": "text/calendar; charset=utf-8", ".vtt": "text/vtt; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".json": "application/json",
		".map": "application/json", ".jsonld": "application/ld+json", ".webmanifest": "application/manifest+json",
		".xml": "text/xml; charset=utf-8", ".rss": "application/rss+xml", ".atom": "application/atom+xml", ".wasm": "application/wasm",
		".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
		".avif": "image/avif", ".svg": "image/svg+xml", ".ico": "image/x-icon", ".bmp": "image/bmp", ".apng": "image/apng",
		".tif": "image/tiff", ".tiff": "image/tiff",
		".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".eot": "application/vnd.ms-fontobject",
		".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
		".mpeg": "video/mpeg", ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".mp3": "audio/mpeg",
		".m4a": "audio/mp4", ".aac": "audio/aac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
		".wav": "audio/wav", ".flac": "audio/flac", ".weba": "audio/webm",
		".pdf": "application/pdf", ".rtf": "application/rtf", ".epub": "application/epub+zip", ".zip": "application/zip",
		".gz": "application/gzip", ".tgz": "application/gzip", ".bz2": "application/x-bzip2", ".xz": "application/x-xz",
		".zst": "application/zstd", ".7z": "application/x-7z-compressed", ".tar": "application/x-tar", ".jar": "application/java-archive",
		".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
		".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
		".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
		".sh": "text/x-shellscript; charset=utf-8", ".asc": "text/plain; charset=utf-8", ".log": "text/plain; charset=utf-8",
	}
}
