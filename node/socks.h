/* node/socks.h - SOCKS5 as a state machine over bytes (RFC 1928; RFC 1929's user and password,
 * which isolate streams here and grant nothing), and the head of its datagrams. Pure: bytes in,
 * bytes and a request out. Names are handed on as they came; nothing is ever resolved. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/writer.h"
#include "node/door_code.h"
#include "onion/onion.h"

enum {
    SOCKS_HOST_MAX = 255,
    SOCKS_MESSAGE_MAX = 513, /* user and password of 255 bytes each */
    SOCKS_ANSWER_MAX = 256,  /* the longest we say to one message */
    SOCKS_DATAGRAM_HEAD_MAX = 4 + 1 + SOCKS_HOST_MAX + 2,
};

enum socks_command { SOCKS_CONNECT = 1, SOCKS_BIND = 2, SOCKS_ASSOCIATE = 3 };

struct socks_request {
    uint8_t command; /* SOCKS_CONNECT or SOCKS_ASSOCIATE */
    uint8_t host_len;
    char host[SOCKS_HOST_MAX + 1]; /* CONNECT: as sent, with a NUL behind; may be any name */
    uint16_t port; /* ASSOCIATE: the client's own port for datagrams, 0: not known yet */
    struct onion_isolation isolation; /* from user and password; zero without */
};

enum socks_state { SOCKS_METHODS, SOCKS_LOGIN, SOCKS_REQUEST, SOCKS_DONE, SOCKS_BROKEN };

struct socks {
    enum socks_state state;
    uint8_t in[SOCKS_MESSAGE_MAX]; /* of the message that has not come whole */
    size_t len;
    uint8_t code; /* of a request that was refused; 0: what came was no SOCKS5 */
    struct socks_request request;
};

enum socks_step {
    SOCKS_MORE,   /* send what `out` holds (perhaps nothing), come back with more */
    SOCKS_READY,  /* the request is whole */
    SOCKS_REFUSE, /* send what `out` holds, then end */
};

void socks_init(struct socks *s);
void socks_fini(struct socks *s); /* wipes user and password */
/* Takes bytes of the client's; *used says how many (all, but those behind a request: they are the
 * stream's own). `out` has room for SOCKS_ANSWER_MAX. */
enum socks_step socks_feed(struct socks *s, const uint8_t *data, size_t len, size_t *used,
                           struct writer *out);
/* The answer to a request; `bound` (may be NULL) is where datagrams go. */
void socks_answer(struct writer *out, enum socks_code code, const struct env_addr *bound);

/* The tag of a user and a password; the zero tag when both are empty. */
struct onion_isolation socks_isolation(const void *user, size_t user_len, const void *password,
                                       size_t password_len);

struct socks_datagram {
    uint8_t host_len;
    char host[SOCKS_HOST_MAX + 1];
    uint16_t port;
    const uint8_t *data; /* borrowed */
    size_t len;
};
/* DROP_TYPE: a fragment, or an address that is no name. */
enum drop socks_datagram_parse(struct socks_datagram *out, const uint8_t *data, size_t len);
/* The head only. */
void socks_datagram_head(struct writer *out, const char *host, size_t host_len, uint16_t port);
