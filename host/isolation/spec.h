/* host/isolation/spec.h - what a container shall be: plain data, checked as a whole before anything
 * is made. All pointers are borrowed; they must stay until the container has been started. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cyx_err;

/* Bounds: each is what a sane image needs with room to spare, and what keeps a hostile one from
 * making the launcher slow. */
enum {
    ISO_NAME_MAX = 64,           /* a folder's name on disk and in cgroups */
    ISO_LAYERS_MAX = 120,        /* overlayfs was seen to take 120; the kernel's own limit is 500 */
    ISO_MOUNTS_MAX = 128,        /* extra mounts; an engine's usual list has about 15 */
    ISO_ARGS_MAX = 4096,         /* arguments, and as many variables */
    ISO_STRINGS_MAX = 1 << 20,   /* bytes of all arguments or all variables together */
    ISO_PATH_MAX = 4096,         /* with the final NUL, as the kernel */
    ISO_GROUPS_MAX = 64,         /* supplementary groups */
    ISO_RLIMITS_MAX = 16,        /* as many as the kernel has */
    ISO_PATHS_MAX = 64,          /* masked paths, and as many read-only ones */
    ISO_SYSCTLS_MAX = 32,        /* namespaced keys only, see sysctl.c */
    ISO_PORTS_MAX = 64,          /* ports that are served to the outside */
    ISO_IDS_MIN = 1,             /* users of a container, itself 0 .. n - 1 */
    ISO_HOST_ID_MAX = 0x7fffffff /* tools that hold ids as int must not see them negative */
};

enum iso_flag {
    ISO_ROOT_READONLY = 1 << 0, /* nothing under / can be written, mounts apart */
    ISO_PROC_PIDS = 1 << 1,     /* /proc has processes only (subset=pid): nothing left to mask */
    ISO_TTY = 1 << 2,           /* a pty is made inside; its master is iso_container_tty() */
    ISO_HOLD = 1 << 3           /* everything but exec; iso_start() lets it go */
};

/* What `source` of a mount is. */
enum iso_mount_kind {
    ISO_MOUNT_BIND,  /* a file or folder of the host, with this container's ids mapped on it */
    ISO_MOUNT_TMPFS, /* memory: `bytes`, `inodes` */
    ISO_MOUNT_MQUEUE,
    ISO_MOUNT_CGROUP2 /* read-only, behind the cgroup namespace */
};

enum iso_mount_flag {
    ISO_MNT_READONLY = 1 << 0,
    ISO_MNT_NOEXEC = 1 << 1,
    ISO_MNT_RECURSIVE = 1 << 2, /* bind what is mounted below the source too */
    ISO_MNT_PLAIN_IDS = 1 << 3  /* bind: the source's ids are the mapped ones already */
};

struct iso_mount {
    enum iso_mount_kind kind;
    unsigned flags;     /* enum iso_mount_flag; nosuid and nodev are always on */
    const char *source; /* ISO_MOUNT_BIND: absolute path on the host */
    const char *target; /* absolute path in the container, resolved inside its root only */
    uint64_t bytes;     /* ISO_MOUNT_TMPFS: size limit, 4096 at least */
    uint64_t inodes;    /* ISO_MOUNT_TMPFS */
    uint32_t mode;      /* ISO_MOUNT_TMPFS: permissions of its root */
};

struct iso_rlimit {
    unsigned resource; /* RLIMIT_* */
    uint64_t soft;
    uint64_t hard; /* cut to the launcher's own hard limit where that can't be raised */
};

struct iso_limits {        /* 0: no limit of that kind */
    uint64_t memory_bytes; /* RAM without swap */
    uint64_t pids;
    uint64_t cpu_quota_us; /* in each period */
    uint64_t cpu_period_us;
    uint64_t cpu_weight; /* 1..10000, 100 is usual (cgroup v2's scale) */
    uint64_t io_weight;  /* 1..10000, where the kernel can */
};

struct iso_sysctl {
    const char *key; /* "net.ipv4.ip_unprivileged_port_start" */
    const char *value;
};

/* A user, what they may do, and what runs: used for the first process and for exec. */
struct iso_process {
    const char *const *argv; /* NULL-terminated; argv[0] without a slash is looked up in PATH */
    const char *const *envp; /* NULL-terminated */
    const char *cwd;         /* absolute; made when it isn't there */
    uint32_t uid;            /* ids as the container sees them */
    uint32_t gid;
    const uint32_t *groups;
    unsigned n_groups;
    uint64_t caps; /* bits of ISO_CAPS_ALLOWED; 0 (no capability at all) unless asked for */
    uint32_t umask;
    const struct iso_rlimit *rlimits;
    unsigned n_rlimits;
    int stdio[3];  /* descriptors that become 0, 1, 2; ignored with ISO_TTY */
    uint16_t rows; /* of the pty; 0: 24 by 80 */
    uint16_t cols;
};

struct iso_spec {
    const char *name; /* 1..ISO_NAME_MAX of [A-Za-z0-9_.+-], not beginning with a dot */
    unsigned flags;   /* enum iso_flag */

    /* The root: read-only folders, the top one first, under a tmpfs of `root_bytes` and
     * `root_inodes`; or one folder of the host that is written to directly. */
    const char *const *layers;
    unsigned n_layers;
    const char *root_dir;
    bool root_dir_plain_ids; /* the folder's owners are the mapped ids already */
    uint64_t root_bytes;     /* 64 KiB at least */
    uint64_t root_inodes;    /* 16 at least */

    struct iso_process process;
    uint32_t host_ids; /* first of n_ids ids of the host: user and group i is host_ids + i */
    uint32_t n_ids;
    const char *hostname;   /* NULL: the container's name, cut to 64 bytes */
    const char *domainname; /* NULL: none */
    struct iso_limits limits;
    const char *cgroup_parent; /* below the launcher's own group (v1), "cyx" when NULL */
    const struct iso_mount *mounts;
    unsigned n_mounts;
    const char *const *masked; /* NULL: the default list */
    unsigned n_masked;
    const char *const *readonly; /* NULL: the default list */
    unsigned n_readonly;
    const struct iso_sysctl *sysctls;
    unsigned n_sysctls;
    const uint16_t *ports; /* TCP ports the daemon will reach through iso_container_socket() */
    unsigned n_ports;
};

/* The capabilities a process may be given: those that bite only on what its user namespace owns
 * and that no published escape began with. Bit i is capability i. */
#define ISO_CAPS_ALLOWED                                                                           \
    ((1ull << 0) | (1ull << 1) | (1ull << 3) | (1ull << 4) | (1ull << 5) | (1ull << 6) |           \
     (1ull << 7) | (1ull << 8) | (1ull << 10) | (1ull << 18) | (1ull << 31))

/* Checks all of `s`: every bound above, every string's form, ranges of ids, that host root is
 * mapped nowhere. Returns 0, or CYX_EINVAL with the field and value in `err`. Makes nothing.
 * Spec: docs/host-isolation.md, "The specification". */
int iso_spec_check(const struct iso_spec *s, struct cyx_err *err);

/* The same for what iso_exec() runs; `n_ids` is the container's. */
int iso_process_check(const struct iso_process *p, uint32_t n_ids, struct cyx_err *err);

/* True for a name that may be a container's: it becomes a folder. */
bool iso_name_ok(const char *name);

/* Reads the whole of `text` as a number 0 .. max in decimal: no sign, no blank, no leading zero, no
 * suffix. Returns 0 or CYX_EINVAL. For users and groups, so that nothing is 0 by accident. */
int iso_number(const char *text, uint32_t max, uint32_t *out);
