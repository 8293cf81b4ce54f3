/* base/list.h - an intrusive doubly linked list with a sentinel head. No allocation; a node that is
 * in no list points at itself, so list_del is harmless on it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l;
    l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

/* Inserts `node` before `at`; before the head means at the tail. */
static inline void list_add_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_add_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_add_before(head->next, node);
}

static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The structure that holds `member` at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define list_each(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* Safe against removal of `pos`, not of its successor. */
#define list_each_safe(pos, head)                                                                  \
    for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);                  \
         pos = pos##_next, pos##_next = pos->next)
