/* host/isolation/state.c - a folder for each container, written before anything is made, so that
 * whoever starts next finds what a crash left: the groups that hold its processes, its ids. Text,
 * one "key value" a line; replaced as a whole. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/internal.h"

static int open_folder(const struct iso_container *c)
{
    return openat(c->engine->state, c->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int iso__state_begin(struct iso_container *c, struct cyx_err *err)
{
    if (mkdirat(c->engine->state, c->name, 0700) < 0)
        return cyx_fail(err, errno == EEXIST ? CYX_EEXIST : CYX_EIO, "container %s: %s", c->name,
                        strerror(errno));
    return iso__state_write(c, err);
}

static void print(const struct iso_container *c, FILE *f)
{
    fprintf(f, "pid %d\nstarted %" PRIu64 "\nids %u %u\nheld %d\n", (int)c->pid, c->started,
            c->host_ids, c->n_ids, c->is_held);
    for (unsigned h = 0; h < ISO__N_HIERARCHIES; h++) {
        if (c->groups.path[h][0] != '\0')
            fprintf(f, "group %u %s\n", h, c->groups.path[h]);
    }
}

int iso__state_write(struct iso_container *c, struct cyx_err *err)
{
    cleanup_close int dir = open_folder(c);
    cleanup_close int fd = openat(dir, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cleanup_fclose FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL)
        return cyx_fail(err, CYX_EIO, "state of %s: %s", c->name, strerror(errno));
    (void)steal_fd(&fd);
    print(c, f);
    if (fflush(f) != 0 || renameat(dir, "state.new", dir, "state") < 0)
        return cyx_fail(err, CYX_EIO, "state of %s: %s", c->name, strerror(errno));
    return 0;
}

static int read_line(struct iso_container *c, const char *line)
{
    unsigned h = 0;
    int held = 0;
    char path[512];
    if (sscanf(line, "pid %d", &c->pid) == 1 ||
        sscanf(line, "started %" SCNu64, &c->started) == 1 ||
        sscanf(line, "ids %u %u", &c->host_ids, &c->n_ids) == 2)
        return 0;
    if (sscanf(line, "held %d", &held) == 1) {
        c->is_held = held != 0;
        return 0;
    }
    if (sscanf(line, "group %u %511[^\n]", &h, path) == 2 && h < ISO__N_HIERARCHIES &&
        path[0] == '/' && strstr(path, "/../") == NULL) {
        snprintf(c->groups.path[h], sizeof c->groups.path[h], "%s", path);
        c->groups.devices_shared = c->groups.devices_shared || h == ISO__DEVICES;
        return 0;
    }
    return CYX_ECORRUPT;
}

int iso__state_read(struct iso_container *c, struct cyx_err *err)
{
    char line[640];
    cleanup_close int dir = open_folder(c);
    if (dir < 0)
        return cyx_fail(err, CYX_ENOENT, "container %s: no such container", c->name);
    cleanup_close int fd = openat(dir, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    cleanup_fclose FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f == NULL) /* the folder alone: a crash before anything was made */
        return 0;
    (void)steal_fd(&fd);
    while (fgets(line, sizeof line, f) != NULL) {
        if (read_line(c, line) < 0)
            return cyx_fail(err, CYX_ECORRUPT, "state of %s: %.40s", c->name, line);
    }
    return 0;
}

int iso__state_fifo(struct iso_container *c, struct cyx_err *err)
{
    cleanup_close int dir = open_folder(c);
    int fd = dir >= 0 && mkfifoat(dir, "start", 0600) == 0
                 ? openat(dir, "start", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
    return fd >= 0 ? fd : cyx_fail(err, CYX_EIO, "state of %s: FIFO: %s", c->name, strerror(errno));
}

int iso__state_open_fifo(struct iso_container *c)
{
    cleanup_close int dir = open_folder(c);
    return openat(dir, "start", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

void iso__state_started(struct iso_container *c)
{
    cleanup_close int dir = open_folder(c);
    (void)unlinkat(dir, "start", 0);
    (void)iso__state_write(c, NULL);
}

/* Only what `name` claimed: a caller may have chosen ids itself. */
static void drop_claim(struct iso_engine *e, const char *name, uint32_t first)
{
    char slot[32], owner[ISO_NAME_MAX + 2] = "";
    snprintf(slot, sizeof slot, ".ids/%u", first);
    ssize_t n = readlinkat(e->state, slot, owner, sizeof owner - 1);
    if (n > 0 && strcmp(owner, name) == 0)
        (void)unlinkat(e->state, slot, 0);
}

void iso__ids_release(struct iso_engine *e, const char *name, uint32_t first)
{
    if (iso_name_ok(name) && faccessat(e->state, name, F_OK, 0) < 0)
        drop_claim(e, name, first);
}

enum { CLAIM_S_MAX = 60 }; /* a launch takes milliseconds; younger claims may be one's */

void iso__ids_sweep(struct iso_engine *e)
{
    int fd = openat(e->state, ".ids", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *d = dir != NULL ? readdir(dir) : NULL; d != NULL; d = readdir(dir)) {
        char owner[ISO_NAME_MAX + 2] = "";
        struct stat st;
        uint32_t first;
        if (iso_number(d->d_name, ISO_HOST_ID_MAX, &first) < 0 ||
            fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            st.st_mtime + CLAIM_S_MAX > time(NULL) ||
            readlinkat(fd, d->d_name, owner, sizeof owner - 1) <= 0)
            continue;
        iso__ids_release(e, owner, first);
    }
    if (dir != NULL)
        closedir(dir);
}

void iso__state_remove(struct iso_container *c)
{
    static const char *const files[] = { "state", "state.new", "start", "config.json", "bundle" };
    cleanup_close int dir = open_folder(c);
    drop_claim(c->engine, c->name, c->host_ids);
    for (size_t i = 0; dir >= 0 && i < sizeof files / sizeof files[0]; i++)
        (void)unlinkat(dir, files[i], 0);
    (void)unlinkat(c->engine->state, c->name, AT_REMOVEDIR);
}

/* ---- ids ---------------------------------------------------------------------------------------
 */

enum { IDS_FIRST = 0x10000000, IDS_EACH = 65536, IDS_SLOTS = 28000 };

static uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;
    while (*s != '\0')
        h = (h ^ (unsigned char)*s++) * 16777619u;
    return h;
}

/* A claim is a link whose text is the container's name: made or refused as one step. */
int iso_engine_claim_ids(struct iso_engine *e, const char *name, uint32_t *first,
                         struct cyx_err *err)
{
    char path[32];
    if (!iso_name_ok(name))
        return cyx_fail(err, CYX_EINVAL, "name");
    if (mkdirat(e->state, ".ids", 0700) < 0 && errno != EEXIST)
        return cyx_fail(err, CYX_EIO, "ids: %s", strerror(errno));
    uint32_t start = hash(name);
    for (uint32_t i = 0; i < IDS_SLOTS; i++) {
        uint32_t id = IDS_FIRST + (start + i) % IDS_SLOTS * IDS_EACH;
        snprintf(path, sizeof path, ".ids/%u", id);
        if (symlinkat(name, e->state, path) == 0) {
            *first = id;
            return 0;
        }
        if (errno != EEXIST)
            return cyx_fail(err, CYX_EIO, "ids: %s", strerror(errno));
        char owner[ISO_NAME_MAX + 2] = "";
        ssize_t n = readlinkat(e->state, path, owner, sizeof owner - 1);
        if (n > 0 && strcmp(owner, name) == 0) { /* a launch of this name was cut short here */
            *first = id;
            return 0;
        }
    }
    return cyx_fail(err, CYX_EFULL, "ids: all %d ranges are in use", IDS_SLOTS);
}
