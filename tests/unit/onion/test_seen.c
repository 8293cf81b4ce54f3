/* The duplicate window. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "onion/seen.h"

static struct onion_seen *seen;

static void end(void)
{
    free(seen);
}

TestSuite(onion_seen, .fini = end);

static enum onion_seen_answer note(uint64_t number)
{
    uint8_t cell[MESH_CELL] = { 0 };
    uint64_t first = number * UINT64_C(0x9e3779b97f4a7c15);
    memcpy(cell, &first, sizeof first);
    return onion_seen_note(&seen, cell);
}

Test(onion_seen, knows_each_of_the_last_128_cells_and_none_before)
{
    for (uint64_t i = 1; i <= 1000; i++) {
        uint64_t oldest = i > ONION_WINDOW_CELLS ? i - ONION_WINDOW_CELLS + 1 : 1;
        cr_assert_eq(note(i), ONION_SEEN_NEW, "cell %lu", (unsigned long)i);
        cr_assert_eq(note(oldest), ONION_SEEN_REPEAT, "cell %lu after %lu", (unsigned long)oldest,
                     (unsigned long)i);
        cr_assert_eq(note(i), ONION_SEEN_REPEAT);
    }
    for (uint64_t i = 1000 - ONION_WINDOW_CELLS + 1; i <= 1000; i++)
        cr_expect_eq(note(i), ONION_SEEN_REPEAT);
    cr_expect_eq(note(1000 - ONION_WINDOW_CELLS), ONION_SEEN_NEW);
    cr_expect_eq(note(1000 - ONION_WINDOW_CELLS + 1), ONION_SEEN_NEW, "the oldest gave way to it");
}

Test(onion_seen, finds_cells_that_share_a_chain)
{
    uint64_t in_chain = 0;
    for (uint64_t i = 0; in_chain < 3 * ONION_WINDOW_CELLS; i++) {
        if ((i * UINT64_C(0x9e3779b97f4a7c15) >> 32) % ONION_WINDOW_CELLS != 5)
            continue;
        uint8_t cell[MESH_CELL] = { 0 };
        memcpy(cell, &i, sizeof i); /* as the code reads it, so that all fall into one chain */
        cr_assert_eq(onion_seen_note(&seen, cell), ONION_SEEN_NEW);
        cr_assert_eq(onion_seen_note(&seen, cell), ONION_SEEN_REPEAT);
        in_chain++;
    }
}

Test(onion_seen, looks_at_the_first_eight_bytes)
{
    uint8_t cell[MESH_CELL] = { 0 };
    cr_assert_eq(onion_seen_note(&seen, cell), ONION_SEEN_NEW);
    cell[8] = 1;
    cr_expect_eq(onion_seen_note(&seen, cell), ONION_SEEN_REPEAT);
    for (unsigned bit = 0; bit < 64; bit++) {
        memset(cell, 0, sizeof cell);
        cell[bit / 8] = (uint8_t)(1u << (bit % 8));
        cr_expect_eq(onion_seen_note(&seen, cell), ONION_SEEN_NEW, "bit %u", bit);
    }
}

Test(onion_seen, grows_with_what_came_and_stays_within_a_kilobyte)
{
    cr_expect_eq(onion_seen_bytes(seen), 0u);
    note(1);
    cr_expect_leq(onion_seen_bytes(seen), 128u);
    for (uint64_t i = 2; i < 5000; i++)
        note(i);
    cr_expect_leq(onion_seen_bytes(seen), 1024u);
}
