#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char *const env[] = { "PATH=/bin", NULL };

static int copy(const char *from, const char *to)
{
    char buf[65536];
    cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
    cleanup_close int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ssize_t n = in >= 0 && out >= 0 ? 1 : -1;
    while (n > 0) {
        n = read(in, buf, sizeof buf);
        if (n > 0 && write(out, buf, (size_t)n) != n)
            return -1;
    }
    return (int)n;
}

static bool make_image(struct rig *r)
{
    static const char *const applets[] = { "sh",   "true", "cat", "sleep", "id",
                                           "kill", "tty",  "nc",  "grep" };
    char at[96];
    mkdir(r->layer, 0755);
    snprintf(at, sizeof at, "%s/bin", r->layer);
    mkdir(at, 0755);
    snprintf(at, sizeof at, "%s/bin/busybox", r->layer);
    if (copy("/usr/bin/busybox", at) < 0 && copy("/bin/busybox", at) < 0)
        return false;
    for (size_t i = 0; i < sizeof applets / sizeof applets[0]; i++) {
        snprintf(at, sizeof at, "%s/bin/%s", r->layer, applets[i]);
        if (symlink("busybox", at) < 0)
            return false;
    }
    return true;
}

void rig_script(struct rig *r, const char *script)
{
    r->argv[0] = "sh";
    r->argv[1] = "-c";
    r->argv[2] = script;
    r->argv[3] = NULL;
}

bool rig_open(struct rig *r)
{
    *r = (struct rig){ .folder = "/tmp/cyx-unit-XXXXXX" };
    if (geteuid() != 0 || mkdtemp(r->folder) == NULL) {
        printf("skipped: containers need root\n");
        return false;
    }
    chmod(r->folder, 0755);
    snprintf(r->layer, sizeof r->layer, "%s/layer", r->folder);
    snprintf(r->state, sizeof r->state, "%s/state", r->folder);
    if (!make_image(r)) {
        printf("skipped: no static busybox\n");
        return false;
    }
    r->layers[0] = r->layer;
    r->spec = (struct iso_spec){
        .name = "unit",
        .layers = r->layers,
        .n_layers = 1,
        .root_bytes = 1 << 20,
        .root_inodes = 128,
        .host_ids = 0x20000000,
        .n_ids = 65536,
        .limits = { .memory_bytes = 32 << 20, .pids = 32 },
        .process = { .argv = r->argv, .envp = env, .cwd = "/", .umask = 022, .stdio = { 0, 1, 2 } },
    };
    rig_script(r, "true");
    if (iso_engine_open(&r->engine, r->state, &r->err) < 0) {
        printf("skipped: %s\n", r->err.msg);
        return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void rig_close(struct rig *r)
{
    iso_engine_close(r->engine);
    nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

int count_mounts(void)
{
    int c, n = 0;
    FILE *f = fopen("/proc/self/mountinfo", "r");
    while (f != NULL && (c = fgetc(f)) != EOF)
        n += c == '\n';
    if (f != NULL)
        fclose(f);
    return n;
}

static const char *wanted;
static int found;

static int look(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    found += type == FTW_D && strcmp(path + at->base, wanted) == 0;
    return 0;
}

int count_groups(const char *name)
{
    wanted = name;
    found = 0;
    nftw("/sys/fs/cgroup", look, 16, FTW_PHYS);
    return found;
}
