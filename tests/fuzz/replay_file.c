/* Files of the replay cache. The first byte: bit 0 puts the right checksum at the end, so that the
 * fuzzer gets behind it. What is read must be read again from what is written of it. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "onion/replay_internal.h"

static bool same_set(const struct onion__set *a, const struct onion__set *b)
{
    bool is_same = a->n == b->n;
    for (size_t i = 0; i < a->cap; i++)
        is_same = is_same && (a->slots[i] == 0 || onion__set_has(b, a->slots[i]));
    return is_same;
}

static bool same(const struct onion__replay_file *a, const struct onion__replay_file *b)
{
    bool is_same = a->is_saved == b->is_saved && a->floor == b->floor && a->ceiling == b->ceiling &&
                   memcmp(&a->names, &b->names, sizeof a->names) == 0 &&
                   memcmp(a->key, b->key, sizeof a->key) == 0;
    for (size_t i = 0; i < ONION__GENERATIONS; i++)
        is_same = is_same && a->gens[i].start == b->gens[i].start &&
                  a->gens[i].newest == b->gens[i].newest &&
                  same_set(&a->gens[i].seen, &b->gens[i].seen);
    return is_same;
}

static void round_trip(const struct onion__replay_file *f, size_t len)
{
    struct onion__replay_file again;
    uint8_t *out = malloc(len);
    if (out == NULL)
        return;
    if (onion__replay_file_size(f) != len || onion__replay_encode(f, out, len) != (int)len ||
        onion__replay_decode(&again, out, len) != 0 || !same(f, &again))
        abort();
    onion__replay_file_clear(&again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct onion__replay_file f;
    if (sodium_init() < 0 || len < 1)
        return 0;
    size_t n = len - 1;
    uint8_t *file = malloc(n > 0 ? n : 1);
    if (file == NULL)
        return 0;
    memcpy(file, data + 1, n);
    if ((data[0] & 1) != 0 && n >= CRYPTO_HASH)
        crypto_h(file + n - CRYPTO_HASH, "cyx replay file", &BYTES(file, n - CRYPTO_HASH), 1);
    if (onion__replay_decode(&f, file, n) == 0)
        round_trip(&f, n);
    else if (sodium_is_zero((const uint8_t *)&f, sizeof f) != 1)
        abort(); /* every refusal leaves it empty */
    onion__replay_file_clear(&f);
    free(file);
    return 0;
}
