/* Upper bound of fan-out on a machine: the producer's frames are turned into server frames once,
 * and sent to every subscriber with one send(). There is no Sec-WebSocket-Accept, no queue and no
 * heartbeat: a subscriber whose socket does not take all bytes at once is evicted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 65536, BUFFER = 4 << 20 };

static const char RESPONSE[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\n\r\n";

static int poller;
static int subscribers[CLIENTS], count;
static char is_producer[CLIENTS], is_open[CLIENTS];
static unsigned char in[BUFFER], out[BUFFER];
static size_t in_size;
static long published;

static void close_connection(int fd)
{
    for (int i = 0; i < count; i++)
        if (subscribers[i] == fd)
            subscribers[i--] = subscribers[--count];
    is_open[fd] = is_producer[fd] = 0;
    close(fd);
}

static void evict(int fd)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    getpeername(fd, (struct sockaddr *)&peer, &size);
    printf("evicted %ld %d\n", published, ntohs(peer.sin_port));
    fflush(stdout);
    close_connection(fd);
}

static void accept_all(int listener)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void upgrade(int fd)
{
    char head[4096];
    ssize_t got = recv(fd, head, sizeof head - 1, 0);
    if (got <= 0) {
        close(fd);
        return;
    }
    head[got] = 0;
    is_open[fd] = 1;
    if (strncmp(head, "GET /publish", 12) == 0)
        is_producer[fd] = 1;
    else
        subscribers[count++] = fd;
    if (send(fd, RESPONSE, sizeof RESPONSE - 1, MSG_NOSIGNAL) < 0)
        close_connection(fd);
}

/* Write one unmasked server frame to `to`; return its size. */
static size_t write_frame(unsigned char *to, const unsigned char *payload,
                          const unsigned char *mask, size_t size)
{
    size_t head = 2;
    to[0] = 0x81;
    if (size < 126) {
        to[1] = size;
    } else if (size < 65536) {
        to[1] = 126, to[2] = size >> 8, to[3] = size;
        head = 4;
    } else {
        to[1] = 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (uint64_t)size >> (56 - 8 * i);
        head = 10;
    }
    for (size_t i = 0; i < size; i++)
        to[head + i] = payload[i] ^ mask[i & 3];
    return head + size;
}

/* Turn all complete client frames in `in` into server frames in `out`; return their size. */
static size_t convert_frames(void)
{
    size_t at = 0, made = 0;
    while (in_size - at >= 6) {
        size_t size = in[at + 1] & 127, head = 2;
        if (size == 126) {
            size = in[at + 2] << 8 | in[at + 3];
            head = 4;
        } else if (size == 127) {
            if (in_size - at < 14)
                break;
            size = 0;
            for (int i = 0; i < 8; i++)
                size = size << 8 | in[at + 2 + i];
            head = 10;
        }
        if (in_size - at < head + 4 + size)
            break;
        made += write_frame(out + made, in + at + head + 4, in + at + head, size);
        at += head + 4 + size;
        published++;
    }
    memmove(in, in + at, in_size - at);
    in_size -= at;
    return made;
}

static void fan_out(int producer)
{
    ssize_t got = recv(producer, in + in_size, BUFFER / 2 - in_size, 0);
    if (got <= 0) {
        close_connection(producer);
        return;
    }
    in_size += got;
    size_t size = convert_frames();
    for (int i = 0; size && i < count; i++)
        if (send(subscribers[i], out, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
            evict(subscribers[i--]);
}

static void discard_input(int fd)
{
    char discarded[4096];
    if (recv(fd, discarded, sizeof discarded, 0) <= 0)
        close_connection(fd);
}

int main(int argc, char **argv)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 65535)) {
        perror("send_loop");
        return 1;
    }
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (!is_open[fd])
                upgrade(fd);
            else if (is_producer[fd])
                fan_out(fd);
            else
                discard_input(fd);
        }
    }
}
