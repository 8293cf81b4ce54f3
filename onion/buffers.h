/* onion/buffers.h - the node's memory for streams: what peers were promised to be allowed to send,
 * and what of ours waits for their acknowledgement. One for all connections of a thread. Whoever
 * wants more than its free share gets at most as much as it leaves free (Choudhury and Hahne's
 * dynamic threshold): n greedy connections take n/(n+1) of the whole in equal parts, and the next
 * one still finds something. Pure. Spec: protocol.md, sections 14 and 16. */
#pragma once
#include <stddef.h>

enum {
    ONION_BUFFERS_RX =
        64 << 20, /* receive windows of the node beyond each connection's free part */
    ONION_BUFFERS_TX = 64 << 20, /* the same for what we sent or are about to */
    ONION_WINDOW_FREE =
        64 << 10, /* of a connection, each way: what a client may count on unasked */
};

struct onion_buffer {
    size_t max, used;
};

struct onion_buffers {
    struct onion_buffer rx, tx;
};

/* max_rx, max_tx: bytes; 0: the constants above. */
void onion_buffers_init(struct onion_buffers *b, size_t max_rx, size_t max_tx);
/* Up to `want` more bytes for one who holds `held` already. Returns how many; they are its own
 * until returned. */
size_t onion_buffer_take(struct onion_buffer *b, size_t want, size_t held);
void onion_buffer_return(struct onion_buffer *b, size_t n);
