/*
 * What the bench programs share: the clock, a histogram of durations, sockets on 127.0.0.1, and
 * the way they speak with the Python that runs them (one command a line on stdin, one JSON object a
 * line on stdout, end of stdin means leave). All durations are nanoseconds of CLOCK_MONOTONIC, which
 * every process on the machine reads alike, so a stamp written by one may be compared by another.
 */
#ifndef BENCH_H
#define BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)

static inline int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* ---- Histogram: 128 buckets for each power of two, so a value is known to within 0.8 %. ---- */

enum { SUB_BITS = 7, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB };

struct histogram {
	uint64_t count;
	int64_t max;
	uint64_t bucket[BUCKETS];
};

static inline void record(struct histogram *h, int64_t value)
{
	uint64_t v = value > 0 ? (uint64_t)value : 0;
	size_t index = v;
	if (v >= SUB) {
		int shift = 63 - __builtin_clzll(v) - SUB_BITS;
		index = (size_t)shift * SUB + (v >> shift);
	}
	h->bucket[index]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

static inline double bucket_middle(size_t index)
{
	if (index < 2 * SUB)
		return (double)index;
	int shift = (int)(index / SUB) - 1;
	uint64_t low = (uint64_t)(index % SUB + SUB) << shift;
	return (double)low + (double)(UINT64_C(1) << shift) / 2;
}

static inline double quantile(const struct histogram *h, double q)
{
	uint64_t wanted = (uint64_t)(q * (double)h->count), seen = 0;
	for (size_t i = 0; i < BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > wanted)
			return bucket_middle(i);
	}
	return (double)h->max;
}

/* Prints `"name": {"p50": ..., ...}` in microseconds. */
static inline void print_quantiles(const char *name, const struct histogram *h)
{
	printf("\"%s\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}", name,
	       quantile(h, 0.5) / 1e3, quantile(h, 0.9) / 1e3, quantile(h, 0.99) / 1e3,
	       quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
}

/* ---- Sockets ---- */

static inline void no_delay(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static inline void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static inline struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A blocking connection whose reads give up after ten seconds; -1 when it was refused. */
static inline int connect_to(int port)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 10}, sizeof(struct timeval));
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	no_delay(fd);
	return fd;
}

/* A listening socket on a port of the system's choice, made known as {"port": N}. */
static inline int listen_somewhere(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0)
		die("listen: %s", strerror(errno));
	getsockname(fd, (struct sockaddr *)&address, &size);
	printf("{\"port\": %d}\n", ntohs(address.sin_port));
	return fd;
}

/* Sends everything, waiting for room if it must; false when the peer is gone. */
static inline bool send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
			continue;
		}
		if (n < 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static inline void watch(int epoll, int fd, uint32_t events, void *tag)
{
	struct epoll_event event = {.events = events, .data.ptr = tag};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* Waits until `until` at the latest; a timer slack of 50 us would blur what we measure. */
static inline int wait_until(int epoll, struct epoll_event *events, int room, int64_t until)
{
	int64_t left = until - now_ns();
	if (left < 0)
		left = 0;
	struct timespec timeout = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
	return epoll_pwait2(epoll, events, room, &timeout, NULL);
}

static inline void start_up(void)
{
	prctl(PR_SET_TIMERSLACK, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* ---- Files ---- */

struct text {
	char *data;
	size_t size;
};

static inline struct text read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		die("%s: %s", path, strerror(errno));
	fseek(file, 0, SEEK_END);
	struct text text = {.size = (size_t)ftell(file)};
	rewind(file);
	text.data = malloc(text.size + 1);
	if (!text.data || fread(text.data, 1, text.size, file) != text.size)
		die("%s: cannot read", path);
	text.data[text.size] = 0;
	fclose(file);
	return text;
}

/* The value of Content-Length in a message head, or -1. */
static inline long content_length(const char *head, size_t size)
{
	static const char name[] = "\r\ncontent-length:";
	const size_t length = sizeof name - 1;
	for (const char *at = head; (at = memchr(at, '\r', size - (size_t)(at - head))); at++) {
		if (size - (size_t)(at - head) < length)
			break;
		if (strncasecmp(at, name, length) == 0)
			return strtol(at + length, NULL, 10);
	}
	return -1;
}

#endif
