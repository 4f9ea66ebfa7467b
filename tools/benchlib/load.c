/*
 * Request load over kept-alive HTTP/1.1 connections, every reply compared byte for byte.
 *
 *     load PORT CONNECTIONS whole|split EXPECTED_BODY REQUEST...
 *
 * Opens the connections one after another, sends one request on each, prints {"ready": ...} and holds
 * them open and idle. Then, for each line `run SECONDS RATE` on stdin, one window of load: RATE 0 is a
 * closed loop (each connection sends again as soon as it has its reply), otherwise RATE requests a
 * second are due at even times whatever the replies do, and a latency counts from the due time, so
 * that a slow peer cannot hide its delay by slowing the load. A window ends when all replies are in.
 *
 * The REQUEST files are sent in turn. With `split`, head and body go in two sends, as openai-python
 * does it.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { REPLY_ROOM = 16384, MAX_REQUESTS = 64, GRACE_SECONDS = 5 };
enum outcome { PENDING, DONE, FAILED };

struct request {
	struct text text;
	size_t head;
};

struct connection {
	int fd;
	bool busy;
	int64_t since;
	size_t have;
	char reply[REPLY_ROOM];
};

static int port, epoll;
static bool split;
static struct text expected;
static struct request requests[MAX_REQUESTS];
static size_t request_count, next_request;
static struct connection *connections;
static size_t connection_count;

/* Idle connections, first in first out, so that an even load visits all of them. */
static struct connection **idle;
static size_t idle_first, idle_count;

static struct histogram latency;
static uint64_t failures;
static char first_failure[160];

static enum outcome fail(const char *why, const char *detail, size_t size)
{
	if (failures++ == 0) {
		snprintf(first_failure, sizeof first_failure, "%s %.*s", why, (int)(size < 60 ? size : 60), detail);
		for (char *c = first_failure; *c; c++) /* it goes into a JSON string */
			if (*c < ' ' || *c == '"' || *c == '\\')
				*c = ' ';
	}
	return FAILED;
}

static void put_idle(struct connection *c)
{
	c->busy = false;
	idle[(idle_first + idle_count++) % connection_count] = c;
}

static struct connection *take_idle(void)
{
	struct connection *c = idle[idle_first];
	idle_first = (idle_first + 1) % connection_count;
	idle_count--;
	return c;
}

static bool send_request(struct connection *c, int64_t since)
{
	struct request *r = &requests[next_request++ % request_count];
	size_t first = split ? r->head : r->text.size;
	c->busy = true;
	c->since = since;
	c->have = 0;
	return send_all(c->fd, r->text.data, first) &&
	       send_all(c->fd, r->text.data + first, r->text.size - first);
}

/* What the bytes so far amount to. */
static enum outcome judge(const struct connection *c)
{
	const char *end = memmem(c->reply, c->have, "\r\n\r\n", 4);
	if (!end)
		return c->have == REPLY_ROOM ? fail("endless head", "", 0) : PENDING;
	size_t head = (size_t)(end - c->reply) + 4;
	if (memcmp(c->reply, "HTTP/1.1 200 ", 13) != 0)
		return fail("not a 200:", c->reply, c->have);
	if (content_length(c->reply, head) != (long)expected.size)
		return fail("wrong Content-Length in", c->reply, c->have);
	if (c->have < head + expected.size)
		return PENDING;
	if (c->have > head + expected.size)
		return fail("bytes after the reply", "", 0);
	if (memcmp(c->reply + head, expected.data, expected.size) != 0)
		return fail("body differs:", c->reply + head, expected.size);
	return DONE;
}

static enum outcome receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->reply + c->have, REPLY_ROOM - c->have, 0);
	if (n < 0 && errno == EAGAIN)
		return PENDING;
	if (n <= 0)
		return fail(n ? strerror(errno) : "closed before the reply was whole", "", 0);
	if (!c->busy)
		return fail("bytes without a request", "", 0);
	c->have += (size_t)n;
	return judge(c);
}

/* Connects and fetches one reply, waiting; the connection is then warm and watched. */
static void open_connection(struct connection *c)
{
	c->fd = connect_to(port);
	if (c->fd < 0)
		die("connect to port %d: %s", port, strerror(errno));
	if (!send_request(c, now_ns()))
		die("first request: %s", strerror(errno));
	enum outcome outcome;
	do {
		errno = 0;
		outcome = receive(c);
	} while (outcome == PENDING && errno != EAGAIN);
	if (outcome != DONE)
		die("first reply: %s", outcome == FAILED ? first_failure : "none in ten seconds");
	c->busy = false;
	set_blocking(c->fd, false);
	watch(epoll, c->fd, EPOLLIN, c);
}

static void reopen(struct connection *c)
{
	close(c->fd);
	open_connection(c);
}

static void open_all(void)
{
	for (size_t i = 0; i < connection_count; i++) {
		open_connection(&connections[i]);
		put_idle(&connections[i]);
	}
}

/* Sends what is due on idle connections: at once in a closed loop, at its time otherwise. */
static void send_due(int64_t start, int64_t end, double interval, uint64_t *sent)
{
	while (idle_count) {
		int64_t now = now_ns();
		int64_t due = interval > 0 ? start + (int64_t)((double)*sent * interval) : now;
		if (due > now || due >= end || now >= end)
			return;
		struct connection *c = take_idle();
		if (!send_request(c, due)) {
			fail("cannot send:", strerror(errno), 60);
			reopen(c);
			put_idle(c);
		}
		++*sent;
	}
}

static void take_replies(int64_t until)
{
	struct epoll_event events[256];
	int n = wait_until(epoll, events, 256, until);
	for (int i = 0; i < n; i++) {
		struct connection *c = events[i].data.ptr;
		bool was_busy = c->busy;
		enum outcome outcome = receive(c);
		if (outcome == DONE)
			record(&latency, now_ns() - c->since);
		else if (outcome == FAILED)
			reopen(c);
		if (outcome != PENDING && was_busy)
			put_idle(c);
	}
}

static void give_up_on_the_rest(void)
{
	for (size_t i = 0; i < connection_count; i++) {
		struct connection *c = &connections[i];
		if (!c->busy)
			continue;
		fail("no reply in time", "", 0);
		reopen(c);
		put_idle(c);
	}
}

static void run(double seconds, double rate)
{
	memset(&latency, 0, sizeof latency);
	failures = 0;
	first_failure[0] = 0;
	uint64_t sent = 0;
	double interval = rate > 0 ? 1e9 / rate : 0;
	int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
	for (;;) {
		send_due(start, end, interval, &sent);
		int64_t now = now_ns();
		if (now >= end + GRACE_SECONDS * SECOND)
			give_up_on_the_rest();
		if (now >= end && idle_count == connection_count)
			break;
		int64_t due = start + (int64_t)((double)sent * interval);
		bool waiting_for_time = interval > 0 && idle_count && due < end && now < end;
		take_replies(waiting_for_time ? due : now < end ? end : end + GRACE_SECONDS * SECOND);
	}
	double took = (double)(now_ns() - start) / 1e9;
	printf("{\"requests\": %llu, \"seconds\": %.6f, \"failures\": %llu, \"first_failure\": \"%s\", ",
	       (unsigned long long)latency.count, took, (unsigned long long)failures, first_failure);
	print_quantiles("latency", &latency);
	printf("}\n");
}

static void read_requests(char **paths, int count)
{
	if (count < 1 || count > MAX_REQUESTS)
		die("between 1 and %d request files, please", MAX_REQUESTS);
	for (int i = 0; i < count; i++) {
		struct request *r = &requests[request_count++];
		r->text = read_file(paths[i]);
		char *end = memmem(r->text.data, r->text.size, "\r\n\r\n", 4);
		if (!end)
			die("%s: no end of head", paths[i]);
		r->head = (size_t)(end - r->text.data) + 4;
	}
}

int main(int argc, char **argv)
{
	if (argc < 6)
		die("usage: load PORT CONNECTIONS whole|split EXPECTED_BODY REQUEST...");
	start_up();
	port = atoi(argv[1]);
	connection_count = (size_t)atoi(argv[2]);
	split = strcmp(argv[3], "split") == 0;
	expected = read_file(argv[4]);
	read_requests(argv + 5, argc - 5);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	connections = calloc(connection_count, sizeof *connections);
	idle = calloc(connection_count, sizeof *idle);
	if (!connections || !idle)
		die("no memory");
	open_all();
	printf("{\"ready\": %zu}\n", connection_count);

	char line[128];
	double seconds, rate;
	while (fgets(line, sizeof line, stdin))
		if (sscanf(line, "run %lf %lf", &seconds, &rate) == 2)
			run(seconds, rate);
	return 0;
}
