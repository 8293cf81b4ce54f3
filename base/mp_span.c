/* Where a MessagePack value ends in a stream without length prefixes. Counts how many values are
 * still to come and skips over their bytes; whether they are well-formed is mp_check's business. */
#include "base/mp.h"
#include "base/reader.h"

/* A head: how many bytes of it and of its contents to skip, how many values it opens. */
struct step {
    uint64_t skip;
    uint64_t values;
};

static uint64_t read_be(struct reader *r, unsigned width)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v = v << 8 | reader_u8(r);
    return v;
}

/* 0xc0 to 0xdf: plain values, lengths and counts of a given width. */
static enum drop long_step(struct reader *r, uint8_t type, struct step *s)
{
    static const uint8_t plain[32] = { [0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4,
                                       [0x0f] = 8, [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8 };
    static const uint8_t sized[32] = {
        [0x04] = 1, [0x05] = 2, [0x06] = 4, [0x19] = 1, [0x1a] = 2, [0x1b] = 4
    };
    static const uint8_t counted[32] = { [0x1c] = 2, [0x1d] = 4, [0x1e] = 2, [0x1f] = 4 };
    unsigned i = type - 0xc0u;
    if (i == 1 || (i >= 0x07 && i <= 0x09) || (i >= 0x14 && i <= 0x18))
        return DROP_FIELD; /* never used; extensions */
    if (sized[i] != 0)
        s->skip = read_be(r, sized[i]);
    else if (counted[i] != 0)
        s->values = read_be(r, counted[i]) * (i >= 0x1e ? 2 : 1);
    else
        s->skip = plain[i];
    return r->bad ? DROP_SHORT : DROP_NONE;
}

static enum drop step(struct reader *r, struct step *s)
{
    uint8_t type = reader_u8(r);
    *s = (struct step){ 0 };
    if (r->bad)
        return DROP_SHORT;
    if (type >= 0xc0 && type < 0xe0)
        return long_step(r, type, s);
    if (type >= 0x80 && type < 0x90)
        s->values = 2u * (type & 0x0fu);
    else if (type >= 0x90 && type < 0xa0)
        s->values = type & 0x0fu;
    else if (type >= 0xa0 && type < 0xc0)
        s->skip = type & 0x1fu;
    return DROP_NONE;
}

void mp_scan_init(struct mp_scan *s)
{
    *s = (struct mp_scan){ .left = 1 };
}

enum drop mp_scan_more(struct mp_scan *s, const uint8_t *data, size_t len,
                       const struct mp_rules *rules)
{
    while (s->left > 0) {
        struct reader r = reader_on(data + s->at, len - s->at);
        struct step st;
        enum drop d = step(&r, &st);
        if (d != DROP_NONE)
            return d; /* short: this head is read again when more has come */
        if (st.skip > reader_left(&r))
            return DROP_SHORT;
        if (s->items == rules->items_max || st.values > rules->items_max - s->items)
            return DROP_LIMIT;
        s->items++;
        s->left += st.values;
        s->left--;
        reader_skip(&r, (size_t)st.skip);
        s->at = (size_t)(r.p - data);
    }
    return DROP_NONE;
}

enum drop mp_span(const uint8_t *data, size_t len, const struct mp_rules *rules, size_t *used)
{
    struct mp_scan s;
    mp_scan_init(&s);
    enum drop d = mp_scan_more(&s, data, len, rules);
    if (d == DROP_NONE)
        d = mp_check(data, s.at, rules);
    if (d == DROP_NONE)
        *used = s.at;
    return d;
}
