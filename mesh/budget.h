/* mesh/budget.h - token buckets, alone and by address prefix. Pure: the time comes in. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct mesh_bucket {
    uint64_t rate;   /* tokens a second */
    uint64_t burst;  /* most tokens held */
    uint64_t tokens; /* in 2^-20ths of a token */
    uint64_t at_ns;
};
void mesh_bucket_init(struct mesh_bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns);
/* Takes n tokens if they are there. */
bool mesh_bucket_take(struct mesh_bucket *b, uint64_t n, uint64_t now_ns);
/* When n tokens will be there (now_ns if they are; UINT64_MAX when rate is 0 or n is above burst).
 */
uint64_t mesh_bucket_when(const struct mesh_bucket *b, uint64_t n, uint64_t now_ns);

/* Buckets for up to `cap` prefixes; when full, the one idle longest gives way (it is full again by
 * then in any sane setting). */
struct mesh_prefix_budget;
struct mesh_prefix_budget *mesh_prefix_budget_create(size_t cap, uint64_t rate, uint64_t burst);
void mesh_prefix_budget_destroy(struct mesh_prefix_budget *p);
bool mesh_prefix_budget_take(struct mesh_prefix_budget *p, uint64_t prefix, uint64_t now_ns);

/* How many of something each prefix holds. */
struct mesh_prefix_count;
struct mesh_prefix_count *mesh_prefix_count_create(void);
void mesh_prefix_count_destroy(struct mesh_prefix_count *p);
size_t mesh_prefix_count_get(const struct mesh_prefix_count *p, uint64_t prefix);
/* `member`, if any, is put at the end of the prefix's list, and must be out of it before its count
 * is taken back. False when memory is out. */
bool mesh_prefix_count_add(struct mesh_prefix_count *p, uint64_t prefix, struct list *member);
void mesh_prefix_count_sub(struct mesh_prefix_count *p, uint64_t prefix);
/* The members' list, or NULL where nothing is counted. */
struct list *mesh_prefix_count_members(struct mesh_prefix_count *p, uint64_t prefix);
/* The prefix that holds most, or nearly (greedy_top), 0 when empty; and how many. */
uint64_t mesh_prefix_count_greatest(const struct mesh_prefix_count *p, size_t *n);
