/* bench_raw_link gcm|chacha [SECONDS] - the ceiling of a link: two processes, one GSO UDP socket
 * each, packets of 1328 bytes sealed and opened with the AEAD through libcrypto, a window of credit
 * so that the receiver is not overrun, and nothing else. bench_link does the same through mesh/. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/two.h"

enum { PACKET = 1328, HEAD = 16, TAG = 16, PLAIN = PACKET - HEAD - TAG, BATCH = 48 };

static EVP_CIPHER_CTX *aead(const char *name, int is_sealing)
{
    static const uint8_t key[32] = { 1 };
    const EVP_CIPHER *cipher =
        strcmp(name, "gcm") == 0 ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (c == NULL || EVP_CipherInit_ex(c, cipher, NULL, key, NULL, is_sealing) != 1)
        exit(2);
    return c;
}

/* Seals or opens packet[16..1312) in place, with its header's counter as nonce. */
static bool seal_or_open(EVP_CIPHER_CTX *c, uint8_t *p, int is_sealing)
{
    uint8_t nonce[12] = { 0 };
    int n = 0;
    memcpy(nonce + 4, p + 8, 8);
    if (EVP_CipherInit_ex(c, NULL, NULL, NULL, nonce, is_sealing) != 1 ||
        EVP_CipherUpdate(c, NULL, &n, p, HEAD) != 1)
        return false;
    if (!is_sealing && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, p + HEAD + PLAIN) != 1)
        return false;
    if (EVP_CipherUpdate(c, p + HEAD, &n, p + HEAD, PLAIN) != 1 ||
        EVP_CipherFinal_ex(c, p + HEAD + PLAIN, &n) != 1)
        return false;
    return !is_sealing || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, p + HEAD + PLAIN) == 1;
}

static int open_socket(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 4 << 20;
    socklen_t len = sizeof *at;
    *at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    if (fd < 0 || bind(fd, (struct sockaddr *)at, sizeof *at) < 0 ||
        getsockname(fd, (struct sockaddr *)at, &len) < 0)
        exit(2);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

/* Takes in what credits there are; waits for one when `must_wait`. A credit that was lost is made
 * good by the next, and one that never comes by the time-out. */
static void take_credit(int fd, uint64_t *seen, bool must_wait, uint64_t sent)
{
    uint64_t credit;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (must_wait && poll(&p, 1, 20) == 0) {
        *seen = sent;
        return;
    }
    while (recv(fd, &credit, sizeof credit, MSG_DONTWAIT) == (ssize_t)sizeof credit)
        *seen = credit > *seen ? credit : *seen;
}

static void send_for_ever(int fd, const char *cipher)
{
    static uint8_t batch[BATCH * PACKET];
    EVP_CIPHER_CTX *c = aead(cipher, 1);
    uint64_t sent = 0, seen = 0;
    int segment = PACKET;
    bool gso = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0;
    unsigned n = gso ? BATCH : 1;
    for (;;) {
        for (unsigned i = 0; i < n; i++) {
            uint64_t counter = sent + i;
            memcpy(batch + i * PACKET + 8, &counter, sizeof counter);
            if (!seal_or_open(c, batch + i * PACKET, 1))
                return;
        }
        while (send(fd, batch, n * PACKET, 0) < 0)
            if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
                return;
        sent += n;
        do
            take_credit(fd, &seen, sent - seen > TWO_WINDOW, sent);
        while (sent - seen > TWO_WINDOW);
    }
}

struct receiver {
    int fd;
    EVP_CIPHER_CTX *aead;
    uint64_t opened, top, credited;
};

/* Opens a row of packets; returns how many were good. */
static uint64_t open_row(struct receiver *r, uint8_t *data, size_t len)
{
    uint64_t good = 0;
    for (size_t at = 0; at + PACKET <= len; at += PACKET) {
        uint64_t counter;
        memcpy(&counter, data + at + 8, sizeof counter);
        if (!seal_or_open(r->aead, data + at, 0))
            continue;
        good++;
        r->top = counter + 1 > r->top ? counter + 1 : r->top;
    }
    return good;
}

static int receive(int fd, const struct sockaddr_in *sender, const char *cipher,
                   struct two_count *count)
{
    static uint8_t buf[1 << 16];
    struct receiver r = { .fd = fd, .aead = aead(cipher, 0) };
    int on = 1;
    count->gro = setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
    if (connect(fd, (const struct sockaddr *)sender, sizeof *sender) < 0)
        return 2;
    for (bool is_over = false; !is_over;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, 5000) <= 0) {
            fprintf(stderr, "bench_raw_link: nothing came for 5 s\n");
            return 1;
        }
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        uint64_t good = n > 0 ? open_row(&r, buf, (size_t)n) : 0;
        r.opened += good;
        is_over = two_arrived(count, good);
        if (r.top - r.credited >= TWO_CREDIT_EVERY) {
            r.credited = r.top;
            send(fd, &r.top, sizeof r.top, MSG_DONTWAIT);
        }
    }
    count->lost = r.top - r.opened;
    EVP_CIPHER_CTX_free(r.aead);
    return 0;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    if (argc < 2 || (strcmp(argv[1], "gcm") != 0 && strcmp(argv[1], "chacha") != 0) ||
        !(seconds > 0 && seconds < 3600)) {
        fprintf(stderr, "usage: bench_raw_link gcm|chacha [SECONDS]\n");
        return 2;
    }
    struct sockaddr_in receiver_at, sender_at;
    int receiver = open_socket(&receiver_at), sender = open_socket(&sender_at);
    pid_t pid = fork();
    if (pid < 0)
        return 2;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(receiver);
        if (connect(sender, (struct sockaddr *)&receiver_at, sizeof receiver_at) == 0)
            send_for_ever(sender, argv[1]);
        _exit(1);
    }
    close(sender);
    struct two_count count = { .span_ns = (uint64_t)(seconds * 1e9) };
    int rc = receive(receiver, &sender_at, argv[1], &count);
    if (rc == 0)
        two_finish(&count, "raw", argv[1], pid);
    else
        kill(pid, SIGKILL);
    close(receiver);
    return rc;
}
