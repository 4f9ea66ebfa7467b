/*
 * The clients of the streaming bench over HTTP/1.1: opens many streams and clocks every event (sink.h).
 *
 *     ssesink PORT STREAMS REQUEST
 *
 * Opens the streams one after another, each on a connection of its own and when the last has its
 * reply's head, prints {"ready": N} when all have had an event, and reads them all from then on. Leaves
 * at the end of stdin.
 */
#define _GNU_SOURCE
#include "sink.h"

enum framing { HEAD, SIZE, EXTENSION, DATA, DATA_END };

struct stream {
	int fd;
	enum framing framing;
	size_t chunk_left; /* of the chunk's data, or of the CRLF behind it */
	struct events events;
	size_t head_have;
	char head[4096];
};

static size_t take_data(struct stream *s, const char *data, size_t size, int64_t now)
{
	size_t n = take_event_bytes(&s->events, data, size < s->chunk_left ? size : s->chunk_left, now);
	s->chunk_left -= n;
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
			die("stream %zu ended after %lld events", s->events.stream, (long long)s->events.number);
		s->framing = DATA;
	} else if (s->framing == SIZE && hex_digit(c) >= 0)
		s->chunk_left = s->chunk_left * 16 + (size_t)hex_digit(c);
	else
		s->framing = EXTENSION;
}

static void take_head(struct stream *s, char c)
{
	if (s->head_have == sizeof s->head - 1)
		die("stream %zu: endless head", s->events.stream);
	s->head[s->head_have++] = c;
	if (s->head_have < 4 || memcmp(s->head + s->head_have - 4, "\r\n\r\n", 4) != 0)
		return;
	if (memcmp(s->head, "HTTP/1.1 200 ", 13) != 0 || !strcasestr(s->head, "\r\ntransfer-encoding: chunked\r\n"))
		die("stream %zu: not a chunked 200:\n%s", s->events.stream, s->head);
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
		die("stream %zu: connection lost after %lld events", s->events.stream, (long long)s->events.number);
	take_bytes(s, buffer, (size_t)n, now);
	return true;
}

static void open_stream(struct stream *s, size_t index, int port, struct text request)
{
	s->events.stream = index;
	s->fd = connect_to(port);
	if (s->fd < 0 || !send_all(s->fd, request.data, request.size))
		die("stream %zu: %s", index, strerror(errno));
	while (s->framing == HEAD)
		if (!receive(s))
			die("stream %zu: no head in ten seconds", index);
	set_blocking(s->fd, false);
	watch(epoll, s->fd, EPOLLIN, s);
}

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

int main(int argc, char **argv)
{
	if (argc != 4)
		die("usage: ssesink PORT STREAMS REQUEST");
	start_sink();
	size_t count = (size_t)atoi(argv[2]);
	struct text request = read_file(argv[3]);
	struct stream *streams = calloc(count, sizeof *streams);
	if (!streams)
		die("no memory");
	for (size_t i = 0; i < count; i++)
		open_stream(&streams[i], i, atoi(argv[1]), request);
	serve(count);
}
