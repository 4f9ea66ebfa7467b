/*
 * The clients of the streaming bench: opens many streams and clocks every event.
 *
 *     ssesink PORT STREAMS REQUEST
 *
 * Opens the streams one after another, each when the last has its reply's head, prints {"ready": N}
 * when all have had an event, and reads them all from then on. For each line `run SECONDS` on stdin it
 * measures one window: `transit` is the time from an event's sending to its arrival, `lateness` from
 * its due time, `events` how many came. Every event is checked against event.h and against its
 * predecessor in the stream; the first one that is not what was sent ends the program with exit 1.
 * Leaves at the end of stdin.
 */
#define _GNU_SOURCE
#include "event.h"

enum framing { HEAD, SIZE, EXTENSION, DATA, DATA_END };

struct stream {
	int fd;
	size_t index;
	enum framing framing;
	size_t chunk_left; /* of the chunk's data, or of the CRLF behind it */
	int64_t number;
	size_t have, head_have;
	char event[EVENT_SIZE];
	char head[4096];
};

static int epoll;
static struct holes holes;
static size_t streams_begun;
static struct histogram transit, lateness;

static void take_event(struct stream *s, int64_t now)
{
	struct event event;
	if (!read_event(s->event, holes, &event))
		die("stream %zu: event %lld is not what was sent: %.*s", s->index, (long long)s->number,
		    EVENT_SIZE, s->event);
	if (event.number != s->number++)
		die("stream %zu: event %lld where %lld was due", s->index, (long long)event.number,
		    (long long)s->number - 1);
	streams_begun += event.number == 0;
	record(&transit, now - event.sent);
	record(&lateness, now - event.due);
	s->have = 0;
}

static size_t take_data(struct stream *s, const char *data, size_t size, int64_t now)
{
	size_t n = EVENT_SIZE - s->have;
	if (n > size)
		n = size;
	if (n > s->chunk_left)
		n = s->chunk_left;
	memcpy(s->event + s->have, data, n);
	s->have += n;
	s->chunk_left -= n;
	if (s->have == EVENT_SIZE)
		take_event(s, now);
	if (!s->chunk_left) {
		s->framing = DATA_END;
		s->chunk_left = 2;
	}
	return n;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static void take_size(struct stream *s, char c)
{
	if (c == '\n') {
		if (!s->chunk_left)
			die("stream %zu ended after %lld events", s->index, (long long)s->number);
		s->framing = DATA;
	} else if (s->framing == SIZE && hex_digit(c) >= 0)
		s->chunk_left = s->chunk_left * 16 + (size_t)hex_digit(c);
	else
		s->framing = EXTENSION;
}

static void take_head(struct stream *s, char c)
{
	if (s->head_have == sizeof s->head - 1)
		die("stream %zu: endless head", s->index);
	s->head[s->head_have++] = c;
	if (s->head_have < 4 || memcmp(s->head + s->head_have - 4, "\r\n\r\n", 4) != 0)
		return;
	if (memcmp(s->head, "HTTP/1.1 200 ", 13) != 0 || !strcasestr(s->head, "\r\ntransfer-encoding: chunked\r\n"))
		die("stream %zu: not a chunked 200:\n%s", s->index, s->head);
	s->framing = SIZE;
}

static void take_bytes(struct stream *s, const char *data, size_t size, int64_t now)
{
	for (size_t i = 0; i < size;) {
		switch (s->framing) {
		case HEAD:
			take_head(s, data[i++]);
			break;
		case SIZE:
		case EXTENSION:
			take_size(s, data[i++]);
			break;
		case DATA:
			i += take_data(s, data + i, size - i, now);
			break;
		case DATA_END:
			i++;
			if (--s->chunk_left == 0)
				s->framing = SIZE;
		}
	}
}

/* One read; false when there was nothing to read. */
static bool receive(struct stream *s)
{
	static char buffer[65536];
	ssize_t n = recv(s->fd, buffer, sizeof buffer, 0);
	int64_t now = now_ns();
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		die("stream %zu: connection lost after %lld events", s->index, (long long)s->number);
	take_bytes(s, buffer, (size_t)n, now);
	return true;
}

static void open_stream(struct stream *s, size_t index, int port, struct text request)
{
	s->index = index;
	s->fd = connect_to(port);
	if (s->fd < 0 || !send_all(s->fd, request.data, request.size))
		die("stream %zu: %s", index, strerror(errno));
	while (s->framing == HEAD)
		if (!receive(s))
			die("stream %zu: no head in ten seconds", index);
	set_blocking(s->fd, false);
	watch(epoll, s->fd, EPOLLIN, s);
}

static void report(double seconds)
{
	printf("{\"events\": %llu, \"seconds\": %.6f, ", (unsigned long long)transit.count, seconds);
	print_quantiles("transit", &transit);
	printf(", ");
	print_quantiles("lateness", &lateness);
	printf("}\n");
}

/* Reads streams until `end`; true when stdin has something to say. */
static bool read_streams(int64_t end)
{
	struct epoll_event events[256];
	bool command = false;
	int n = wait_until(epoll, events, 256, end);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			receive(events[i].data.ptr);
		else
			command = true;
	}
	return command;
}

static void measure(double seconds)
{
	memset(&transit, 0, sizeof transit);
	memset(&lateness, 0, sizeof lateness);
	int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
	while (now_ns() < end)
		read_streams(end);
	report((double)(now_ns() - start) / 1e9);
}

static void obey(void)
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

int main(int argc, char **argv)
{
	if (argc != 4)
		die("usage: ssesink PORT STREAMS REQUEST");
	start_up();
	holes = find_holes();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	size_t count = (size_t)atoi(argv[2]);
	struct text request = read_file(argv[3]);
	struct stream *streams = calloc(count, sizeof *streams);
	if (!streams)
		die("no memory");
	for (size_t i = 0; i < count; i++)
		open_stream(&streams[i], i, atoi(argv[1]), request);
	while (streams_begun < count)
		read_streams(now_ns() + SECOND);
	watch(epoll, 0, EPOLLIN, NULL);
	printf("{\"ready\": %zu}\n", count);
	for (;;)
		if (read_streams(now_ns() + SECOND))
			obey();
}
