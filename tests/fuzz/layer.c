/* The layer cipher's implementations beside each other: key, how many cells, where they begin, then
 * the cells themselves (zeros once the input ends). Each must give what the portable one gives,
 * undo it, touch nothing else, and do the same to many cells as to one after another. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "onion/layer_internal.h"

enum { KEY = 32, HEAD = KEY + 1, CELLS_MAX = 4 };

struct input {
    struct onion_layer layer;
    size_t n, offset;
    uint8_t cells[CELLS_MAX * MESH_CELL];
};

static void must(bool held)
{
    if (!held)
        abort();
}

static void read_input(struct input *in, const uint8_t *data, size_t len)
{
    size_t rest = len - HEAD;
    onion_layer_init(&in->layer, data);
    in->n = 1 + data[KEY] % CELLS_MAX;
    in->offset = data[KEY] / CELLS_MAX;
    memset(in->cells, 0, sizeof in->cells);
    memcpy(in->cells, data + HEAD, rest < sizeof in->cells ? rest : sizeof in->cells);
}

/* One implementation in one direction, on a heap block that ends where the cells end. */
static void expect(const struct input *in, onion__layer_fn *run, const uint8_t *from,
                   const uint8_t *to)
{
    size_t len = in->n * MESH_CELL;
    cleanup_free uint8_t *block = malloc(in->offset + len);
    must(block != NULL);
    uint8_t *cells = block + in->offset;
    memcpy(cells, from, len);
    run(&in->layer, cells, in->n, MESH_CELL);
    must(memcmp(cells, to, len) == 0);
    memcpy(cells, from, len);
    for (size_t i = 0; i < in->n; i++)
        run(&in->layer, cells + i * MESH_CELL, 1, MESH_CELL);
    must(memcmp(cells, to, len) == 0);
}

static void expect_all(const struct input *in, bool decipher, const uint8_t *from,
                       const uint8_t *to)
{
    for (int i = 0; i < ONION_LAYER_IMPLS; i++) {
        const struct onion__layer_ops *ops = onion__layer_ops((enum onion_layer_impl)i);
        if (ops != NULL)
            expect(in, decipher ? ops->decipher : ops->encipher, from, to);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct input in;
    static uint8_t out[sizeof in.cells];
    if (len < HEAD)
        return 0;
    read_input(&in, data, len);
    memcpy(out, in.cells, sizeof out);
    onion__layer_portable.encipher(&in.layer, out, in.n, MESH_CELL);
    must(memcmp(out, in.cells, MESH_CELL) != 0);
    expect_all(&in, false, in.cells, out);
    expect_all(&in, true, out, in.cells);
    memcpy(out, in.cells, sizeof out);
    onion__layer_portable.decipher(&in.layer, out, in.n, MESH_CELL);
    expect_all(&in, true, in.cells, out);
    expect_all(&in, false, out, in.cells);
    return 0;
}
