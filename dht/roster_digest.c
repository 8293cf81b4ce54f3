/* dht/roster_digest.c - what a roster is compared by. Spec: protocol.md, section 6, DIGEST. */
#include <sodium.h>
#include <string.h>

#include "base/crypto.h"
#include "base/writer.h"
#include "dht/roster.h"

enum { OF_BYTE = DHT_ROSTER_DIGEST / 256 };

/* H of section 1, piece by piece: a first byte may have thousands of ids. */
static void begin(crypto_generichash_state *st)
{
    static const char label[] = "cyx digest";
    const uint8_t len = sizeof label - 1;
    crypto_generichash_init(st, NULL, 0, CRYPTO_HASH);
    crypto_generichash_update(st, &len, 1);
    crypto_generichash_update(st, (const uint8_t *)label, len);
}

static void add(crypto_generichash_state *st, const struct dht_roster_entry *e)
{
    uint8_t buf[DHT_ID + 8];
    struct writer w = writer_on(buf, sizeof buf);
    writer_copy(&w, e->id, DHT_ID);
    writer_u64(&w, e->sequence);
    crypto_generichash_update(st, buf, sizeof buf);
}

void dht_roster_digest(const struct dht_roster *r, uint64_t now,
                       uint8_t out[static DHT_ROSTER_DIGEST])
{
    size_t i = 0;
    memset(out, 0, DHT_ROSTER_DIGEST);
    for (unsigned byte = 0; byte < 256; byte++) {
        crypto_generichash_state st;
        uint8_t h[CRYPTO_HASH];
        size_t n = 0;
        begin(&st);
        for (; i < dht_roster_len(r) && dht_roster_at(r, i)->id[0] == byte; i++) {
            if (!dht_roster_is_told(dht_roster_at(r, i), now))
                continue;
            add(&st, dht_roster_at(r, i));
            n++;
        }
        if (n == 0)
            continue;
        crypto_generichash_final(&st, h, sizeof h);
        memcpy(out + (size_t)byte * OF_BYTE, h, OF_BYTE);
    }
}
