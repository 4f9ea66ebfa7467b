/*
 * The model server of the streaming bench: paced Server-Sent Events to whoever asks.
 *
 *     ssesource PERIOD_US
 *
 * Prints {"port": N}. Any request with a Content-Length body gets a chunked text/event-stream reply:
 * the head in a write of its own, as real servers do it, then one event (event.h) a PERIOD for as long
 * as the client stays. Streams start at even phases of the period. Events that find the socket full are sent
 * later with their due time unchanged: pressure shows as lateness, never as fewer events. Leaves at the
 * end of stdin.
 */
#define _GNU_SOURCE
#include "event.h"

enum { CHUNK_SIZE = 5 + EVENT_SIZE + 2, REQUEST_ROOM = 16384 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\n"
			   "Server: ssesource\r\n"
			   "Content-Type: text/event-stream; charset=utf-8\r\n"
			   "Cache-Control: no-cache\r\n"
			   "X-Accel-Buffering: no\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n";

struct stream {
	int fd;
	bool started, blocked;
	int64_t due, number;
	size_t unsent; /* bytes of `chunk` that the socket had no room for */
	char chunk[CHUNK_SIZE];
	struct stream *next, *previous;
	size_t have;
	char request[REQUEST_ROOM];
};

static int64_t period;
static int epoll, listener;
static struct holes holes;
static uint64_t started_count;

/* Started streams with room, the next due first. All share one period, so a stream just served always
   belongs at the end and the ring stays sorted by itself. */
static struct stream ring = {.next = &ring, .previous = &ring};

static void unlink_stream(struct stream *s)
{
	s->previous->next = s->next;
	s->next->previous = s->previous;
	s->next = s->previous = s;
}

static void link_by_due(struct stream *s)
{
	struct stream *after = ring.previous;
	while (after != &ring && after->due > s->due)
		after = after->previous;
	s->previous = after;
	s->next = after->next;
	s->next->previous = s;
	after->next = s;
}

static void drop(struct stream *s)
{
	unlink_stream(s);
	close(s->fd);
	free(s);
}

/* One turn of a period further by the golden ratio for each new stream: phases spread evenly for any
   number of streams. */
static int64_t first_due(void)
{
	double turns = (double)started_count++ * 0.6180339887498949;
	return now_ns() + period + (int64_t)((turns - (double)(int64_t)turns) * (double)period);
}

static void watch_for(struct stream *s, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = s};
	epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &event);
}

/* Sends what is left of the current chunk; false when the client is gone. */
static bool flush(struct stream *s)
{
	while (s->unsent) {
		ssize_t n = send(s->fd, s->chunk + CHUNK_SIZE - s->unsent, s->unsent, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		s->unsent -= (size_t)n;
	}
	return true;
}

static void next_chunk(struct stream *s)
{
	memcpy(s->chunk, "140\r\n", 5); /* 320 in hexadecimal */
	write_event(s->chunk + 5, holes, (struct event){.due = s->due, .sent = now_ns(), .number = s->number++});
	memcpy(s->chunk + 5 + EVENT_SIZE, "\r\n", 2);
	s->unsent = CHUNK_SIZE;
	s->due += period;
}

/* Sends every event that is due, then takes the stream's place in the ring, or waits for room. */
static void serve(struct stream *s)
{
	unlink_stream(s);
	do {
		if (!s->unsent)
			next_chunk(s);
		if (!flush(s)) {
			drop(s);
			return;
		}
	} while (!s->unsent && s->due <= now_ns());
	bool blocked = s->unsent > 0;
	if (blocked != s->blocked)
		watch_for(s, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
	s->blocked = blocked;
	if (!blocked)
		link_by_due(s);
}

static void begin(struct stream *s)
{
	s->started = true;
	s->due = first_due();
	if (send_all(s->fd, HEAD, sizeof HEAD - 1))
		link_by_due(s);
	else
		drop(s);
}

static void take_request(struct stream *s)
{
	ssize_t n = recv(s->fd, s->request + s->have, REQUEST_ROOM - s->have, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || s->started) { /* gone, or talking in the middle of its stream */
		drop(s);
		return;
	}
	s->have += (size_t)n;
	const char *end = memmem(s->request, s->have, "\r\n\r\n", 4);
	if (!end)
		return;
	size_t head = (size_t)(end - s->request) + 4;
	long body = content_length(s->request, head);
	if (s->have >= head + (size_t)(body > 0 ? body : 0))
		begin(s);
}

static void accept_all(void)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct stream *s = calloc(1, sizeof *s);
		if (!s)
			die("no memory");
		s->fd = fd;
		s->next = s->previous = s;
		no_delay(fd);
		watch(epoll, fd, EPOLLIN, s);
	}
}

static void dispatch(struct epoll_event *event)
{
	static char discard[256];
	if (event->data.ptr == &listener)
		accept_all();
	else if (!event->data.ptr) {
		if (read(0, discard, sizeof discard) <= 0)
			exit(0);
	} else if (event->events & EPOLLOUT)
		serve(event->data.ptr);
	else
		take_request(event->data.ptr);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: ssesource PERIOD_US");
	start_up();
	period = atoll(argv[1]) * 1000;
	holes = find_holes();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(epoll, 0, EPOLLIN, NULL);
	listener = listen_somewhere();
	watch(epoll, listener, EPOLLIN, &listener);
	for (;;) {
		struct epoll_event events[256];
		int64_t until = ring.next == &ring ? now_ns() + SECOND : ring.next->due;
		int n = wait_until(epoll, events, 256, until);
		for (int i = 0; i < n; i++)
			dispatch(&events[i]);
		while (ring.next != &ring && ring.next->due <= now_ns())
			serve(ring.next);
	}
}
