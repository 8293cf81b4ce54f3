/* node/http_internal.h - the strict reading of RFC 9112 that the metrics port (http.c) and the
 * CONNECT door (tunnel.c) share. */
#pragma once
#include "base/reader.h"
#include "node/http.h"

struct http_span {
    const char *p;
    size_t n;
};

/* Methods and field names. */
bool http__is_token(struct http_span s);
bool http__is(struct http_span s, const char *text);
bool http__is_nocase(struct http_span s, const char *text);
/* The next line, without its CRLF. A bare CR or LF is a fault: two parsers that see other line ends
 * than each other see other requests. */
bool http__next_line(struct reader *r, struct http_span *out);
/* The part before the next space, or all of it; moves behind it. */
struct http_span http__word(struct http_span *line);
/* A field's name and its value without the blanks around it: 0, or 400. */
int http__field(struct http_span line, struct http_span *name, struct http_span *value);
/* Length of the head with its empty line, or 0 when that has not come. */
size_t http__head_length(const uint8_t *data, size_t len);
