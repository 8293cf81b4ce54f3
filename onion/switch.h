/* onion/switch.h - who a path id on a link belongs to: paths through us, paths of our own,
 * tombstones. One map, one look-up for each cell. Spec: protocol.md, section 9. */
#pragma once
#include "base/env.h"
#include "base/list.h"
#include "mesh/mesh.h"
#include "onion/limits.h"

struct onion_switch;
struct onion_slot;

/* What may happen to one end of a path. Any of them may remove the slot, or free its owner. */
struct onion_slot_ops {
    void (*cell)(struct onion_slot *s,
                 uint8_t cell[static MESH_CELL]); /* may be changed in place */
    void (*reply)(struct onion_slot *s, const uint8_t train[static ONION_REPLY]);
    void (*build)(struct onion_slot *s,
                  const uint8_t train[static ONION_TRAIN]); /* of an id in use: may be NULL */
    void (*destroy)(
        struct onion_slot *s); /* the peer said so; the slot stays until its owner removes it */
    void (*writable)(struct onion_slot *s);  /* the link's queue has room again: may be NULL */
    void (*link_down)(struct onion_slot *s); /* the slot is out of the switch already */
};

/* Embedded in its owner. */
struct onion_slot {
    const struct onion_slot_ops *ops;
    struct mesh_link *link; /* NULL: not in a switch */
    uint32_t path;
    bool is_eager; /* was entered with a `writable` */
    struct list of_link;
};

/* What no slot is there for. */
struct onion_strays {
    void (*build)(void *arg, struct mesh_link *l, uint32_t path,
                  const uint8_t train[static ONION_TRAIN]);
    void (*cell)(void *arg, struct mesh_link *l, uint32_t path);
    void (*destroy)(void *arg, struct mesh_link *l, uint32_t path);
    void (*reply)(void *arg, struct mesh_link *l, uint32_t path);
};

/* Takes the mesh's paths (mesh_set_paths) and watches its links. `mesh` is borrowed for life. NULL:
 * no memory. */
struct onion_switch *onion_switch_create(struct mesh *mesh);
void onion_switch_set_strays(struct onion_switch *s, const struct onion_strays *ops, void *arg);
/* Slots still in it are forgotten, not told. NULL is fine. */
void onion_switch_destroy(struct onion_switch *s);

/* Enters `slot` (ops set) under (link, path). 0; CYX_EEXIST; CYX_ENOMEM; CYX_EFULL. */
CYX_MUST_USE int onion_switch_add(struct onion_switch *s, struct onion_slot *slot,
                                  struct mesh_link *l, uint32_t path);
/* Takes it out; not in: nothing happens. Says nothing to the peer (mesh_path_destroy,
 * mesh_path_forget do). */
void onion_switch_remove(struct onion_switch *s, struct onion_slot *slot);
/* The slot under (link, path), or NULL: whether one is still there after others were told
 * something. */
struct onion_slot *onion_switch_find(const struct onion_switch *s, const struct mesh_link *l,
                                     uint32_t path);
size_t onion_switch_len(const struct onion_switch *s);
size_t onion_switch_link_len(const struct onion_switch *s,
                             const struct mesh_link *l); /* slots on a link */
struct mesh *onion_switch_mesh(struct onion_switch *s);
