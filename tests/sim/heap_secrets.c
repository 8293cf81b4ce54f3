/* Locked pages take four mappings for each key, and a process has 65,530: a
 * world of twenty thousand identities would run out. The simulator's keys are
 * worth nothing, so its program is linked with
 * --wrap and takes them from the heap, where AddressSanitizer watches their
 * edges just as well. */
#include <sodium.h>
#include <stdlib.h>

void *__wrap_secret_alloc(size_t n);
void __wrap_secret_free(void *p);

/* The size is kept in front, in the block's own alignment, so that it can be
 * wiped. */
enum { HEAD = 16 };

void *__wrap_secret_alloc(size_t n)
{
    size_t *block = calloc(1, HEAD + n);
    if (block == NULL)
        return NULL;
    *block = n;
    return (char *)block + HEAD;
}

void __wrap_secret_free(void *p)
{
    if (p == NULL)
        return;
    size_t *block = (size_t *)(void *)((char *)p - HEAD);
    sodium_memzero(p, *block);
    free(block);
}
