/* node/tunnel.h - HTTP CONNECT (RFC 9110, section 9.3.6): the request's head read strictly, and the
 * answers. Pure. User and password of Proxy-Authorization isolate streams, as in SOCKS; they grant
 * nothing. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/writer.h"
#include "node/http.h"
#include "onion/onion.h"

enum {
    TUNNEL_HEAD_MAX = HTTP_HEAD_MAX,
    TUNNEL_HOST_MAX = 255,
    TUNNEL_ANSWER_MAX = 768,
};

struct tunnel_request {
    char host[TUNNEL_HOST_MAX + 1]; /* as sent: any name */
    size_t host_len;
    uint16_t port;
    struct onion_isolation isolation; /* zero without Proxy-Authorization */
};

/* Parses the head at the start of `data`. 0: its end has not come yet; 200: `out` is filled and
 * *used bytes were the head (what follows is the stream's); otherwise the status to refuse with:
 * 400, 405 (another method), 414, 431, 501 (transfer encoding), 505. */
int tunnel_parse(struct tunnel_request *out, const uint8_t *data, size_t len, size_t *used);
/* The answer: 200, or a status with a reason for people (cut to fit TUNNEL_ANSWER_MAX). */
void tunnel_answer(struct writer *out, unsigned status, const char *reason);
