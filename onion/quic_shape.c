/* What a datagram must look like before ngtcp2 sees it (RFC 9000, section 17.2). */
#include "base/reader.h"
#include "onion/limits.h"
#include "onion/quic_internal.h"

enum {
    LONG = 0x80,
    VERSION = 1,
    FIRST_LEAST = 1200, /* a datagram with a client's Initial packet (RFC 9000, 14.1) */
};

/* QUIC's integers: two bits of length, then the value. */
static uint64_t varint(struct reader *r)
{
    uint8_t b = reader_u8(r);
    uint64_t v = b & 0x3F;
    for (unsigned i = 1; i < 1u << (b >> 6); i++)
        v = v << 8 | reader_u8(r);
    return v;
}

/* Connection ids are empty, but for the client's first destination. */
static enum drop ids(struct reader *r, enum onion__quic_from from, const uint8_t **dcid)
{
    uint8_t n = reader_u8(r);
    if (r->bad)
        return DROP_SHORT;
    if (n != 0 && (from != ONION__FROM_CLIENT || n != ONION_DCID))
        return DROP_FIELD;
    *dcid = n != 0 ? reader_bytes(r, n) : NULL;
    uint8_t scid_len = reader_u8(r);
    if (r->bad)
        return DROP_SHORT;
    return scid_len == 0 ? DROP_NONE : DROP_FIELD;
}

/* One packet with a long header, from its second byte on. */
static enum drop long_packet(struct reader *r, uint8_t type, enum onion__quic_from from,
                             const uint8_t **dcid)
{
    uint32_t version = reader_u32(r);
    if (r->bad)
        return DROP_SHORT;
    if (version != VERSION)
        return DROP_VERSION;
    if (type == ONION__QUIC_RETRY)
        return DROP_TYPE;
    enum drop drop = ids(r, from, dcid);
    if (drop != DROP_NONE)
        return drop;
    if (type == ONION__QUIC_INITIAL) {
        uint64_t token = varint(r);
        if (token > ONION_PAYLOAD)
            return DROP_FIELD;
        reader_skip(r, (size_t)token);
    }
    uint64_t rest = varint(r);
    if (!r->bad && rest > reader_left(r))
        return DROP_SHORT;
    reader_skip(r, (size_t)rest);
    return r->bad ? DROP_SHORT : DROP_NONE;
}

static enum drop walk(struct reader *r, enum onion__quic_from from, uint8_t *first,
                      const uint8_t **dcid)
{
    bool is_first = true;
    while (reader_left(r) > 0) {
        uint8_t b = reader_u8(r);
        const uint8_t *here = NULL;
        /* A short header takes all that is left. */
        uint8_t type = (b & LONG) != 0 ? b >> 4 & 3 : ONION__QUIC_SHORT;
        enum drop drop = DROP_NONE;
        if (type == ONION__QUIC_SHORT)
            reader_skip(r, reader_left(r));
        else
            drop = long_packet(r, type, from, &here);
        if (drop != DROP_NONE)
            return drop;
        if (is_first) {
            *first = type;
            *dcid = here;
        }
        is_first = false;
    }
    return is_first ? DROP_SHORT : DROP_NONE;
}

enum drop onion__quic_shape(const uint8_t *packet, size_t len, enum onion__quic_from from,
                            uint8_t *first)
{
    const uint8_t *dcid = NULL;
    struct reader r = reader_on(packet, len);
    if (len > ONION_PAYLOAD)
        return DROP_LONG;
    return walk(&r, from, first, &dcid);
}

/* The next packet, if its header is long: its type, else ONION__QUIC_SHORT. Either side's ids:
 * whose they may be was looked at before. */
static uint8_t next_long(struct reader *r)
{
    const uint8_t *dcid;
    uint8_t b = reader_u8(r), type = b >> 4 & 3;
    if (r->bad || (b & LONG) == 0 || long_packet(r, type, ONION__FROM_CLIENT, &dcid) != DROP_NONE)
        return ONION__QUIC_SHORT;
    return type;
}

size_t onion__quic_long(const uint8_t *packet, size_t len)
{
    struct reader r = reader_on(packet, len);
    size_t n = 0;
    while (next_long(&r) != ONION__QUIC_SHORT)
        n = len - reader_left(&r);
    return n;
}

bool onion__quic_has_handshake(const uint8_t *packet, size_t len)
{
    struct reader r = reader_on(packet, len);
    uint8_t type;
    do
        type = next_long(&r);
    while (type != ONION__QUIC_SHORT && type != ONION__QUIC_HANDSHAKE);
    return type == ONION__QUIC_HANDSHAKE;
}

enum drop onion__quic_first(const uint8_t *packet, size_t len, uint8_t dcid[static ONION_DCID])
{
    uint8_t first = ONION__QUIC_SHORT;
    const uint8_t *at = NULL;
    struct reader r = reader_on(packet, len);
    if (len > ONION_PAYLOAD)
        return DROP_LONG;
    enum drop drop = walk(&r, ONION__FROM_CLIENT, &first, &at);
    if (drop != DROP_NONE)
        return drop;
    if (first != ONION__QUIC_INITIAL || at == NULL)
        return DROP_STATE;
    if (len < FIRST_LEAST)
        return DROP_SHORT;
    struct reader id = reader_on(at, ONION_DCID);
    reader_copy(&id, dcid, ONION_DCID);
    return DROP_NONE;
}
