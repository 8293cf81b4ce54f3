/* States and what each waits for:
 *   METHODS  version and methods; from here to LOGIN or REQUEST
 *   LOGIN    user and password (RFC 1929)
 *   REQUEST  command and address
 *   DONE     handed on; further bytes are the stream's
 *   BROKEN   refused; further bytes are thrown away
 * Each message is gathered in `in` until it is whole: the first bytes say how long it is. */
#include "node/socks.h"

#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"

enum {
    VERSION_4 = 4,
    VERSION_5 = 5,
    LOGIN_VERSION = 1,
    METHOD_NONE = 0x00,
    METHOD_LOGIN = 0x02,
    METHOD_NO_GOOD = 0xff,
    TYPE_V4 = 1,
    TYPE_NAME = 3,
    TYPE_V6 = 4,
    SOCKS4_REJECTED = 91,
};

void socks_init(struct socks *s)
{
    *s = (struct socks){ .state = SOCKS_METHODS };
}

void socks_fini(struct socks *s)
{
    sodium_memzero(s, sizeof *s);
}

struct onion_isolation socks_isolation(const void *user, size_t user_len, const void *password,
                                       size_t password_len)
{
    struct onion_isolation i = { .tag = { 0 } };
    uint8_t hash[CRYPTO_HASH];
    const uint8_t n[8] = { [6] = (uint8_t)(user_len >> 8), [7] = (uint8_t)user_len };
    const struct bytes parts[] = { BYTES(n, sizeof n), BYTES(user, user_len),
                                   BYTES(password, password_len) };
    if (user_len == 0 && password_len == 0)
        return i;
    crypto_h(hash, "cyx isolation", parts, 3);
    memcpy(i.tag, hash, sizeof i.tag);
    return i;
}

/* ---- how long a message is ------------------------------------------------------------------- */

/* Bytes that the message at `in` needs as far as it can be told: more than `len` means that more
 * must come. A message that is wrong from its first bytes on needs no more. */
static size_t methods_need(const uint8_t *in, size_t len)
{
    if (len < 1 || in[0] != VERSION_5)
        return 1;
    return len < 2 ? 2 : 2 + (size_t)in[1];
}

static size_t login_need(const uint8_t *in, size_t len)
{
    if (len < 1 || in[0] != LOGIN_VERSION)
        return 1;
    if (len < 2)
        return 2;
    size_t at = 2 + (size_t)in[1];
    return len <= at ? at + 1 : at + 1 + in[at];
}

static size_t request_need(const uint8_t *in, size_t len)
{
    if (len < 4)
        return 4;
    switch (in[3]) {
    case TYPE_V4:
        return 4 + 4 + 2;
    case TYPE_V6:
        return 4 + 16 + 2;
    case TYPE_NAME:
        return len < 5 ? 5 : 5 + (size_t)in[4] + 2;
    default:
        return 4;
    }
}

static size_t need(const struct socks *s)
{
    switch (s->state) {
    case SOCKS_METHODS:
        return methods_need(s->in, s->len);
    case SOCKS_LOGIN:
        return login_need(s->in, s->len);
    case SOCKS_REQUEST:
        return request_need(s->in, s->len);
    case SOCKS_DONE:
    case SOCKS_BROKEN:
        break;
    }
    return 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static enum socks_step refuse(struct socks *s)
{
    s->state = SOCKS_BROKEN;
    return SOCKS_REFUSE;
}

/* Somebody who speaks something else should be told what this port is. */
static enum socks_step refuse_stranger(struct socks *s, struct writer *out)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                               "Connection: close\r\nContent-Length: 48\r\n\r\n"
                               "This is a SOCKS5 port, not one of an HTTP proxy\n";
    static const uint8_t socks4[8] = { 0, SOCKS4_REJECTED };
    if (s->in[0] == VERSION_4)
        writer_copy(out, socks4, sizeof socks4);
    else if (s->in[0] >= 'A' && s->in[0] <= 'Z')
        writer_copy(out, http, sizeof http - 1);
    return refuse(s);
}

static enum socks_step take_methods(struct socks *s, struct writer *out)
{
    if (s->in[0] != VERSION_5)
        return refuse_stranger(s, out);
    bool has_none = memchr(s->in + 2, METHOD_NONE, s->in[1]) != NULL;
    bool has_login = memchr(s->in + 2, METHOD_LOGIN, s->in[1]) != NULL;
    writer_u8(out, VERSION_5);
    /* Who offers a login has one: without it, streams meant to be apart would share a path. */
    writer_u8(out, has_login ? METHOD_LOGIN : has_none ? METHOD_NONE : METHOD_NO_GOOD);
    if (!has_login && !has_none)
        return refuse(s);
    s->state = has_login ? SOCKS_LOGIN : SOCKS_REQUEST;
    return SOCKS_MORE;
}

static enum socks_step take_login(struct socks *s, struct writer *out)
{
    bool is_good = s->in[0] == LOGIN_VERSION;
    writer_u8(out, LOGIN_VERSION);
    writer_u8(out, is_good ? 0 : 1);
    if (!is_good)
        return refuse(s);
    size_t user_len = s->in[1], password_len = s->in[2 + user_len];
    s->request.isolation = socks_isolation(s->in + 2, user_len, s->in + 3 + user_len, password_len);
    s->state = SOCKS_REQUEST;
    return SOCKS_MORE;
}

static enum socks_step refuse_with(struct socks *s, struct writer *out, enum socks_code code)
{
    s->code = (uint8_t)code;
    socks_answer(out, code, NULL);
    return refuse(s);
}

static enum socks_step take_request(struct socks *s, struct writer *out)
{
    struct reader r = reader_on(s->in, s->len);
    struct socks_request *q = &s->request;
    uint8_t version = reader_u8(&r);
    q->command = reader_u8(&r);
    uint8_t reserved = reader_u8(&r), type = reader_u8(&r);
    if (version != VERSION_5 || reserved != 0)
        return refuse_with(s, out, SOCKS_GENERAL);
    if (q->command != SOCKS_CONNECT && q->command != SOCKS_ASSOCIATE)
        return refuse_with(s, out, SOCKS_COMMAND);
    if (type != TYPE_NAME && type != TYPE_V4 && type != TYPE_V6)
        return refuse_with(s, out, SOCKS_ADDRESS);
    /* For datagrams it is where the client sends from, mostly 0.0.0.0:0. */
    if (type != TYPE_NAME && q->command == SOCKS_CONNECT)
        return refuse_with(s, out, SOCKS_NOT_ALLOWED);
    if (type == TYPE_NAME)
        q->host_len = reader_u8(&r);
    else
        reader_skip(&r, type == TYPE_V4 ? 4 : 16);
    reader_copy(&r, q->host, q->host_len);
    q->host[q->host_len] = '\0';
    q->port = reader_u16(&r);
    s->state = SOCKS_DONE;
    return SOCKS_READY;
}

static enum socks_step take(struct socks *s, struct writer *out)
{
    switch (s->state) {
    case SOCKS_METHODS:
        return take_methods(s, out);
    case SOCKS_LOGIN:
        return take_login(s, out);
    case SOCKS_REQUEST:
        return take_request(s, out);
    case SOCKS_DONE:
    case SOCKS_BROKEN:
        break;
    }
    return SOCKS_REFUSE;
}

enum socks_step socks_feed(struct socks *s, const uint8_t *data, size_t len, size_t *used,
                           struct writer *out)
{
    struct reader r = reader_on(data, len);
    enum socks_step step = s->state == SOCKS_DONE     ? SOCKS_READY
                           : s->state == SOCKS_BROKEN ? SOCKS_REFUSE
                                                      : SOCKS_MORE;
    while (step == SOCKS_MORE) {
        size_t wanted = need(s) - s->len, there = reader_left(&r);
        size_t n = wanted < there ? wanted : there;
        reader_copy(&r, s->in + s->len, n);
        s->len += n;
        if (s->len < need(s)) { /* the bytes just read may have told of more */
            if (reader_left(&r) == 0)
                break;
            continue;
        }
        step = take(s, out);
        sodium_memzero(s->in, s->len);
        s->len = 0;
    }
    *used = step == SOCKS_REFUSE ? len : len - reader_left(&r);
    return step;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void put_address(struct writer *out, const struct env_addr *a)
{
    bool is_v4 = a == NULL || env_addr_is_v4(a);
    writer_u8(out, is_v4 ? TYPE_V4 : TYPE_V6);
    if (a == NULL)
        writer_zero(out, 4);
    else
        writer_copy(out, is_v4 ? a->ip + 12 : a->ip, is_v4 ? 4 : 16);
    writer_u16(out, a != NULL ? a->port : 0);
}

void socks_answer(struct writer *out, enum socks_code code, const struct env_addr *bound)
{
    writer_u8(out, VERSION_5);
    writer_u8(out, (uint8_t)code);
    writer_u8(out, 0);
    put_address(out, bound);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

enum drop socks_datagram_parse(struct socks_datagram *out, const uint8_t *data, size_t len)
{
    struct reader r = reader_on(data, len);
    struct socks_datagram d = { .host_len = 0 };
    uint16_t reserved = reader_u16(&r);
    uint8_t fragment = reader_u8(&r), type = reader_u8(&r);
    if (r.bad)
        return DROP_SHORT;
    if (reserved != 0)
        return DROP_FIELD;
    if (fragment != 0 || type != TYPE_NAME)
        return DROP_TYPE;
    d.host_len = reader_u8(&r);
    reader_copy(&r, d.host, d.host_len);
    d.host[d.host_len] = '\0';
    d.port = reader_u16(&r);
    if (r.bad)
        return DROP_SHORT;
    d.len = reader_left(&r);
    d.data = reader_bytes(&r, d.len);
    *out = d;
    return DROP_NONE;
}

void socks_datagram_head(struct writer *out, const char *host, size_t host_len, uint16_t port)
{
    writer_u16(out, 0);
    writer_u8(out, 0);
    writer_u8(out, TYPE_NAME);
    writer_u8(out, (uint8_t)host_len);
    writer_copy(out, host, host_len);
    writer_u16(out, port);
}
