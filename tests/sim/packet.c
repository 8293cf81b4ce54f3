/* Packet buffers: kept in lists by size, in steps of 64 bytes. Under AddressSanitizer each one is a
 * heap block of its exact size, so that a read one byte past a datagram is seen. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define EXACT_PACKETS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EXACT_PACKETS 1
#endif
#endif
#ifndef EXACT_PACKETS
#define EXACT_PACKETS 0
#endif

static size_t class_of(size_t len)
{
    return len / SIM_PACKET_CLASS;
}

static size_t room_of(size_t len)
{
    if (EXACT_PACKETS || class_of(len) >= SIM_PACKET_CLASSES)
        return len;
    return (class_of(len) + 1) * SIM_PACKET_CLASS;
}

struct sim_packet *sim__packet_new(struct sim_world *w, size_t len)
{
    w->stats.packet_bytes += sizeof(struct sim_packet) + room_of(len);
    if (!EXACT_PACKETS && class_of(len) < SIM_PACKET_CLASSES) {
        struct sim_packet *p = w->free_packets[class_of(len)];
        if (p != NULL) {
            memcpy(&w->free_packets[class_of(len)], p->data, sizeof p);
            p->len = (uint32_t)len;
            return p;
        }
    }
    struct sim_packet *p = malloc(sizeof *p + room_of(len));
    if (p == NULL)
        abort(); /* a world without memory can't go on */
    p->len = (uint32_t)len;
    return p;
}

void sim__packet_free(struct sim_world *w, struct sim_packet *p)
{
    w->stats.packet_bytes -= sizeof *p + room_of(p->len);
    if (EXACT_PACKETS || class_of(p->len) >= SIM_PACKET_CLASSES) {
        free(p);
        return;
    }
    struct sim_packet **head = &w->free_packets[class_of(p->len)];
    memcpy(p->data, head, sizeof *head); /* the free list's link lives in the data */
    *head = p;
}

void sim__packets_fini(struct sim_world *w)
{
    for (unsigned i = 0; i < SIM_PACKET_CLASSES; i++) {
        while (w->free_packets[i] != NULL) {
            struct sim_packet *p = w->free_packets[i];
            memcpy(&w->free_packets[i], p->data, sizeof p);
            free(p);
        }
    }
}
