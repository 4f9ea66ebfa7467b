/*
 * The clients of the streaming bench over HTTP/2: many streams on one connection, every event clocked
 * (sink.h).
 *
 *     h2sink PORT STREAMS BLOCK BODY
 *
 * Opens the streams one after another, each when the last has its reply's head, prints {"ready": N}
 * when all have had an event, and reads them all from then on. Leaves at the end of stdin.
 */
#define _GNU_SOURCE
#include "h2.h"
#include "sink.h"

struct stream {
	bool begun;
	size_t unread;
	struct events events;
};

static struct h2 connection;
static struct stream *streams;
static size_t count;

static void take_data(struct stream *s, const struct h2_frame *f)
{
	for (size_t i = 0; i < f->size;)
		i += take_event_bytes(&s->events, f->payload + i, f->size - i, connection.read_at);
	s->unread += f->weight;
	if (s->unread < H2_WINDOW / 2)
		return;
	h2_credit(&connection, f->stream, s->unread);
	s->unread = 0;
}

static void take(const struct h2_frame *f)
{
	size_t index = f->stream / 2;
	if (f->stream % 2 == 0 || index >= count)
		die("stream %u: never opened", f->stream);
	if (f->flags & H2_END_STREAM)
		die("stream %zu ended after %lld events", index, (long long)streams[index].events.number);
	streams[index].begun = true;
	if (f->type == H2_DATA)
		take_data(&streams[index], f);
}

static bool read_streams(int64_t end)
{
	struct epoll_event events[2];
	bool command = false;
	int n = wait_until(epoll, events, 2, end);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			h2_receive(&connection, take);
		else
			command = true;
	}
	return command;
}

static void open_stream(size_t index, struct text block, struct text body)
{
	int64_t deadline = now_ns() + 10 * SECOND;
	streams[index].events.stream = index;
	while (connection.room < (int64_t)body.size)
		if (!h2_receive(&connection, take) || now_ns() > deadline)
			die("stream %zu: no room for the request in ten seconds", index);
	h2_request(&connection, block, body);
	while (!streams[index].begun)
		if (!h2_receive(&connection, take) || now_ns() > deadline)
			die("stream %zu: no head in ten seconds", index);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		die("usage: h2sink PORT STREAMS BLOCK BODY");
	start_sink();
	count = (size_t)atoi(argv[2]);
	struct text block = read_file(argv[3]), body = read_file(argv[4]);
	streams = calloc(count, sizeof *streams);
	if (!streams)
		die("no memory");
	h2_open(&connection, atoi(argv[1]));
	for (size_t i = 0; i < count; i++)
		open_stream(i, block, body);
	set_blocking(connection.fd, false);
	watch(epoll, connection.fd, EPOLLIN, &connection);
	serve(count);
}
