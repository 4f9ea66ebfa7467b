/*
 * What the clients of the streaming bench share, whatever protocol brings the bytes: putting events
 * together, checking and clocking them, and obeying. For each line `run SECONDS` on stdin they measure
 * one window: `transit` is the time from an event's sending to its arrival, `lateness` from its due
 * time, `events` how many came. Every event is checked against event.h and against its predecessor in
 * the stream; the first one that is not what was sent ends the program with exit 1.
 */
#ifndef SINK_H
#define SINK_H

#include "event.h"

struct events {
	size_t stream;
	int64_t number;
	size_t have;
	char event[EVENT_SIZE];
};

static int epoll;
static struct holes holes;
static size_t streams_begun;
static struct histogram transit, lateness;

/* Reads what there is until `end`; true when stdin has something to say. The program's own. */
static bool read_streams(int64_t end);

static inline void take_event(struct events *s, int64_t now)
{
	struct event event;
	if (!read_event(s->event, holes, &event))
		die("stream %zu: event %lld is not what was sent: %.*s", s->stream, (long long)s->number,
		    EVENT_SIZE, s->event);
	if (event.number != s->number++)
		die("stream %zu: event %lld where %lld was due", s->stream, (long long)event.number,
		    (long long)s->number - 1);
	streams_begun += event.number == 0;
	record(&transit, now - event.sent);
	record(&lateness, now - event.due);
	s->have = 0;
}

/* Takes at most what the current event lacks; how much that was. */
static inline size_t take_event_bytes(struct events *s, const char *data, size_t size, int64_t now)
{
	size_t n = EVENT_SIZE - s->have;
	if (n > size)
		n = size;
	memcpy(s->event + s->have, data, n);
	s->have += n;
	if (s->have == EVENT_SIZE)
		take_event(s, now);
	return n;
}

static inline void measure(double seconds)
{
	memset(&transit, 0, sizeof transit);
	memset(&lateness, 0, sizeof lateness);
	int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
	while (now_ns() < end)
		read_streams(end);
	printf("{\"events\": %llu, \"seconds\": %.6f, ", (unsigned long long)transit.count,
	       (double)(now_ns() - start) / 1e9);
	print_quantiles("transit", &transit);
	printf(", ");
	print_quantiles("lateness", &lateness);
	printf("}\n");
}

static inline void obey(void)
{
	char line[128];
	double seconds;
	ssize_t n = read(0, line, sizeof line - 1);
	if (n <= 0)
		exit(0);
	line[n] = 0;
	if (sscanf(line, "run %lf", &seconds) == 1)
		measure(seconds);
}

static inline void start_sink(void)
{
	start_up();
	holes = find_holes();
	epoll = epoll_create1(EPOLL_CLOEXEC);
}

/* Says {"ready": N} when all streams have had an event, and obeys until the end of stdin. */
__attribute__((noreturn)) static inline void serve(size_t count)
{
	while (streams_begun < count)
		read_streams(now_ns() + SECOND);
	watch(epoll, 0, EPOLLIN, NULL);
	printf("{\"ready\": %zu}\n", count);
	for (;;)
		if (read_streams(now_ns() + SECOND))
			obey();
}

#endif
