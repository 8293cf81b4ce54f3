#include "onion/buffers.h"

#include <assert.h>

void onion_buffers_init(struct onion_buffers *b, size_t max_rx, size_t max_tx)
{
    *b = (struct onion_buffers){ .rx.max = max_rx != 0 ? max_rx : ONION_BUFFERS_RX,
                                 .tx.max = max_tx != 0 ? max_tx : ONION_BUFFERS_TX };
}

size_t onion_buffer_take(struct onion_buffer *b, size_t want, size_t held)
{
    size_t left = b->max - b->used;
    if (held >= left)
        return 0;
    size_t most = (left - held) / 2; /* afterwards it holds no more than is left */
    size_t n = want < most ? want : most;
    b->used += n;
    return n;
}

void onion_buffer_return(struct onion_buffer *b, size_t n)
{
    assert(n <= b->used);
    b->used -= n;
}
