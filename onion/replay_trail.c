/* onion/replay_trail.c - the trails: see replay_internal.h for their layout, replay.c for what they
 * are good for. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/reader.h"
#include "base/writer.h"
#include "onion/replay_internal.h"

enum {
    MAGIC = 8,
    HEAD = MAGIC + ONION__REPLAY_RUN + ONION__REPLAY_KEY + 4 * 8,
    ENTRY = 16,
    DUMP = 256, /* entries written at once */
    TRAIL_MAX = HEAD + ENTRY * ONION_REPLAY_MAX,
};

static const uint8_t magic[MAGIC] = { 'c', 'y', 'x', '-', 'r', 't', 'r', '1' };

struct head {
    uint8_t run[ONION__REPLAY_RUN], key[ONION__REPLAY_KEY];
    uint64_t turn, start, floor, before;
};

static const char *name_of(uint64_t turn)
{
    static const char *const names[] = { "onion.replay.0", "onion.replay.1" };
    return names[turn % 2];
}

/* ---- writing --------------------------------------------------------------------------------- */

static int add_head(struct onion__trails *t, const struct onion__replay_file *f, size_t generation)
{
    uint8_t head[HEAD];
    const struct onion__generation *g = &f->gens[generation];
    bool has_before = generation + 1 < ONION__GENERATIONS;
    struct writer w = writer_on(head, sizeof head);
    writer_copy(&w, magic, sizeof magic);
    writer_copy(&w, f->run, sizeof f->run);
    writer_copy(&w, f->key, sizeof f->key);
    writer_u64(&w, t->turn);
    writer_u64(&w, g->start);
    writer_u64(&w, f->floor);
    writer_u64(&w, has_before ? g[1].newest : 0);
    int code = env_trail_add(t->env, t->now, head, sizeof head);
    sodium_memzero(head, sizeof head);
    return code;
}

static int next(struct onion__trails *t, const struct onion__replay_file *f, size_t generation)
{
    onion__trails_close(t);
    t->turn++;
    int code = env_trail_open(t->env, name_of(t->turn), true, &t->now);
    if (code == 0)
        code = add_head(t, f, generation);
    if (code != 0)
        onion__trails_close(t);
    return code;
}

/* The stamp of each is the generation's greatest: that is all they are asked for. */
static int dump(struct onion__trails *t, const struct onion__generation *g)
{
    uint8_t buf[DUMP * ENTRY];
    struct writer w = writer_on(buf, sizeof buf);
    int code = 0;
    for (size_t i = 0; i < g->seen.cap && code == 0; i++) {
        if (g->seen.slots[i] == 0)
            continue;
        writer_u64(&w, g->seen.slots[i]);
        writer_u64(&w, g->newest);
        if (writer_len(&w) < sizeof buf)
            continue;
        code = env_trail_add(t->env, t->now, buf, sizeof buf);
        w = writer_on(buf, sizeof buf);
    }
    if (code == 0 && writer_len(&w) > 0)
        code = env_trail_add(t->env, t->now, buf, writer_len(&w));
    return code;
}

int onion__trails_begin(struct onion__trails *t, const struct onion__replay_file *f)
{
    int code = 0;
    for (size_t i = ONION__GENERATIONS; i-- > 0 && code == 0;) {
        code = next(t, f, i);
        if (code == 0)
            code = dump(t, &f->gens[i]);
    }
    if (code != 0)
        onion__trails_close(t);
    return code;
}

int onion__trails_turn(struct onion__trails *t, const struct onion__replay_file *f)
{
    return t->now != NULL ? next(t, f, 0) : CYX_ECLOSED;
}

int onion__trails_add(struct onion__trails *t, uint64_t hash, uint64_t stamp)
{
    uint8_t entry[ENTRY];
    struct writer w = writer_on(entry, sizeof entry);
    writer_u64(&w, hash);
    writer_u64(&w, stamp);
    return t->now != NULL ? env_trail_add(t->env, t->now, entry, sizeof entry) : CYX_ECLOSED;
}

void onion__trails_close(struct onion__trails *t)
{
    env_trail_close(t->env, t->now);
    t->now = NULL;
}

void onion__trails_empty(struct onion__trails *t)
{
    onion__trails_close(t);
    for (unsigned i = 0; i < 2; i++) {
        if (env_trail_open(t->env, name_of(i), true, &t->now) == 0)
            onion__trails_close(t);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool head_get(struct reader *r, const struct onion__replay_file *f, struct head *out)
{
    const uint8_t *m = reader_bytes(r, MAGIC);
    bool is_ours = m != NULL && memcmp(m, magic, MAGIC) == 0;
    reader_copy(r, out->run, sizeof out->run);
    reader_copy(r, out->key, sizeof out->key);
    out->turn = reader_u64(r);
    out->start = reader_u64(r);
    out->floor = reader_u64(r);
    out->before = reader_u64(r);
    return is_ours && !r->bad && memcmp(out->run, f->run, sizeof out->run) == 0;
}

static int entries_get(struct reader *r, struct onion__generation *g)
{
    if (reader_left(r) % ENTRY != 0)
        return CYX_ECORRUPT;
    while (reader_left(r) > 0) {
        uint64_t hash = reader_u64(r), stamp = reader_u64(r);
        int code = hash != 0 ? onion__set_add(&g->seen, hash) : CYX_ECORRUPT;
        if (code != 0 && code != CYX_EEXIST)
            return code;
        if (stamp > g->newest)
            g->newest = stamp;
    }
    return 0;
}

/* One trail. CYX_ENOENT: there is none of that run. */
static int get(const struct onion__trails *t, const struct onion__replay_file *f, unsigned which,
               struct head *head, struct onion__generation *g)
{
    size_t len = 0;
    if (env_trail_load(t->env, name_of(which), NULL, 0, &len) != CYX_EFULL || len > TRAIL_MAX)
        return CYX_ENOENT;
    cleanup_free uint8_t *data = malloc(len);
    if (data == NULL)
        return CYX_ENOMEM;
    if (env_trail_load(t->env, name_of(which), data, len, &len) != 0)
        return CYX_ENOENT;
    struct reader r = reader_on(data, len);
    if (!head_get(&r, f, head))
        return CYX_ENOENT;
    g->start = head->start;
    int code = entries_get(&r, g);
    if (code != 0)
        onion__set_clear(&g->seen);
    return code == CYX_ECORRUPT ? CYX_ENOENT : code;
}

static uint64_t greatest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The current generation is there; the one before may have gone when its trail was about to be
 * used again: then no stamp of it is taken any more. */
static void take(struct onion__replay_file *f, const struct head *now,
                 struct onion__generation *current, const struct head *last,
                 struct onion__generation *before)
{
    uint64_t floor = greatest(f->floor, now->floor);
    if (last != NULL)
        floor = greatest(floor, last->floor);
    else if (now->before != 0)
        floor = greatest(floor, now->before + 1);
    for (size_t i = 0; i < ONION__GENERATIONS; i++)
        onion__set_clear(&f->gens[i].seen);
    memcpy(f->key, now->key, sizeof f->key);
    f->floor = floor;
    f->gens[0] = *current;
    f->gens[1] = last != NULL ? *before : (struct onion__generation){ 0 };
}

int onion__trails_resume(struct onion__trails *t, struct onion__replay_file *f)
{
    struct head head[2] = { 0 };
    struct onion__generation g[2] = { 0 };
    int code[2];
    if (sodium_is_zero(f->run, sizeof f->run))
        return CYX_ENOENT;
    for (unsigned i = 0; i < 2; i++)
        code[i] = get(t, f, i, &head[i], &g[i]);
    unsigned now = code[1] == 0 && (code[0] != 0 || head[1].turn > head[0].turn) ? 1 : 0;
    unsigned last = 1 - now;
    bool has_last = code[last] == 0 && head[last].turn + 1 == head[now].turn;
    bool is_whole = code[now] == 0 && code[0] != CYX_ENOMEM && code[1] != CYX_ENOMEM;
    if (is_whole) {
        t->turn = head[now].turn;
        is_whole = env_trail_open(t->env, name_of(now), false, &t->now) == 0;
    }
    if (is_whole && !has_last)
        onion__set_clear(&g[last].seen);
    if (is_whole)
        take(f, &head[now], &g[now], has_last ? &head[last] : NULL, &g[last]);
    else
        for (unsigned i = 0; i < 2; i++)
            onion__set_clear(&g[i].seen);
    sodium_memzero(head, sizeof head);
    return is_whole ? 0 : code[0] == CYX_ENOMEM || code[1] == CYX_ENOMEM ? CYX_ENOMEM : CYX_ENOENT;
}
