/* node/http.h - a strict parser for the few requests that the metrics port answers (RFC 9112):
 * request line and header fields, nothing folded, nothing lenient, no body. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 8192, HTTP_TARGET_MAX = 128, HTTP_FIELDS_MAX = 64 };

struct http_request {
    bool is_get, is_head;
    char target[HTTP_TARGET_MAX];
};

/* Parses the head at the start of `data`. 0: its end has not come yet; 200: `out` is filled and
 * *used bytes were the head; otherwise the status to refuse with: 400 (broken), 403 (a Host that is
 * not this machine: a web page that had its name point here), 405, 413 (a body), 414, 431, 501
 * (transfer encoding), 505. */
int http_parse(struct http_request *out, const uint8_t *data, size_t len, size_t *used);

/* "Bad Gateway": the reason phrase (RFC 9110, section 15) of a status that this node answers with;
 * "Error" for any other. */
const char *http_phrase(unsigned status);
