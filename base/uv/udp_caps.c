/* base/uv/udp_caps.c - what a fresh UDP socket can do on this kernel, found by asking it, and how
 * a group of sockets shares one port. */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>

#include "base/uv/udp_internal.h"

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static int get_int(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) == 0 ? value : 0;
}

/* The forced form goes above rmem_max, but needs CAP_NET_ADMIN. */
static int grant_buffer(int fd, int force, int plain, int bytes)
{
    if (bytes <= 0)
        bytes = UDP_BUF_DEFAULT;
    if (!set_int(fd, SOL_SOCKET, force, bytes))
        (void)set_int(fd, SOL_SOCKET, plain, bytes);
    return get_int(fd, SOL_SOCKET, plain);
}

void env_uv__udp_caps(struct env_udp *u)
{
    /* DF off, in both families: links carry 1328-byte packets over any path, the kernel and routers
     * may fragment. A dual-stack socket takes the IPv4 option for its mapped traffic. */
    (void)set_int(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    if (u->family == AF_INET6)
        (void)set_int(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    (void)set_int(u->fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    const struct env_uv_switches *sw = &u->e->switches;
    /* Segment size 0 means "none": the option exists if the kernel takes it. */
    u->info.gso = !sw->no_gso && set_int(u->fd, SOL_UDP, UDP_SEGMENT, 0);
    u->info.gro = !sw->no_gro && set_int(u->fd, SOL_UDP, UDP_GRO, 1);
    u->info.rcvbuf = grant_buffer(u->fd, SO_RCVBUFFORCE, SO_RCVBUF, u->o.rcvbuf);
    u->info.sndbuf = grant_buffer(u->fd, SO_SNDBUFFORCE, SO_SNDBUF, u->o.sndbuf);
}

/* Steers by the first byte of the receiver index (mesh/packet.h): RESP (type 2) has it at 8, all
 * others at 4 (an INIT has the sender's there: any worker will do for it). A shorter packet gives
 * 0: the first socket drops and counts it. In a reuseport filter offset 0 is the UDP payload. */
int env_uv__udp_steer(struct env_udp *u, struct cyx_err *err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 4), BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, u->o.n_workers),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog prog = { .len = sizeof code / sizeof code[0], .filter = code };
    if (setsockopt(u->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof prog) == 0)
        return 0;
    char why[64];
    return cyx_fail(err, CYX_EUNSUPPORTED,
                    "this kernel can't steer packets to %u workers (SO_ATTACH_REUSEPORT_CBPF: %s): "
                    "run with one worker",
                    u->o.n_workers, env_uv__why(errno, why));
}
