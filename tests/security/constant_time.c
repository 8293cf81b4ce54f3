/* constant_time [plant] - runs the layer cipher under memcheck with keys and cells that count as
 * uninitialised: a branch or an address that depends on one is then reported. With `plant` it
 * branches on a cell at the end, to show that such a thing is found. tests/security/constant_time
 * builds and runs it. Memcheck knows no AVX-512; the bodies of the others are the same code. */
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "onion/layer_internal.h"

enum { CELLS = 3 };

int main(int argc, char **argv)
{
    static struct onion_layer layer;
    static uint8_t key[32], cells[CELLS * MESH_CELL];
    (void)argv;
    VALGRIND_MAKE_MEM_UNDEFINED(key, sizeof key);
    VALGRIND_MAKE_MEM_UNDEFINED(cells, sizeof cells);
    onion_layer_init(&layer, key);
    onion__layer_portable.encipher(&layer, cells, CELLS, MESH_CELL);
    onion__layer_portable.decipher(&layer, cells, CELLS, MESH_CELL);
#if defined(__x86_64__)
    if (onion_layer_has(ONION_LAYER_AESNI)) {
        onion__layer_aesni.encipher(&layer, cells, CELLS, MESH_CELL);
        onion__layer_aesni.decipher(&layer, cells, CELLS, MESH_CELL);
    }
#endif
    if (argc > 1 && cells[MESH_CELL] == 7)
        puts("seven");
    onion_layer_wipe(&layer);
    return 0;
}
