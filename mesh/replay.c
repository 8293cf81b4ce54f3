/* mesh/replay.c - the replay window: RFC 6479's ring of words. A window of W bits lies in W / 64 +
 * 1 words; the spare word lets a whole word be cleared when the window moves into it. */
#include "mesh/session.h"

enum { WORDS = MESH_REPLAY_WINDOW / 64 + 1 };

static uint64_t *word_of(struct mesh_replay *r, uint64_t counter)
{
    return &r->bits[counter / 64 % WORDS];
}

bool mesh_replay_fresh(const struct mesh_replay *r, uint64_t counter)
{
    if (counter == UINT64_MAX)
        return false; /* Noise keeps this nonce for itself, and top could not name it */
    if (counter >= r->top)
        return true;
    if (r->top - counter > MESH_REPLAY_WINDOW)
        return false;
    return (r->bits[counter / 64 % WORDS] >> (counter % 64) & 1) == 0;
}

void mesh_replay_note(struct mesh_replay *r, uint64_t counter)
{
    if (counter == UINT64_MAX)
        return;
    if (counter >= r->top) {
        /* Before the first counter no word is in use, and all are zero. */
        uint64_t steps = r->top == 0 ? 0 : counter / 64 - (r->top - 1) / 64;
        if (steps > WORDS)
            steps = WORDS;
        for (uint64_t i = 0; i < steps; i++)
            *word_of(r, counter - 64 * i) = 0;
        r->top = counter + 1;
    }
    *word_of(r, counter) |= UINT64_C(1) << (counter % 64);
}
