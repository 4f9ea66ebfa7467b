/*
 * The model server of the request bench: one fixed reply to every request, as fast as it goes.
 *
 *     reply REPLY REQUEST_BODY...
 *
 * Prints {"port": N}. REPLY is a whole HTTP/1.1 reply; each '#' in it becomes another digit every time,
 * as request ids and counters do. A request must bring, with Content-Length, one of the REQUEST_BODY
 * files byte for byte (they are told apart by length), and is answered when it is all there, as a
 * model server must; otherwise the answer is a 400, which the load program reports. nginx would answer
 * before it has read the body: proxies rightly give up such a connection, and we would measure that.
 * A GET is answered with a download that no bench lives to see the end of, sent as fast as it is read.
 * Leaves at the end of stdin.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { REQUEST_ROOM = 16384, MAX_BODIES = 64, MAX_HOLES = 256 };

struct client {
	int fd;
	bool downloads;
	size_t have;
	char request[REQUEST_ROOM];
};

static int epoll, listener;
static struct text reply, bodies[MAX_BODIES];
static size_t body_count;
static size_t holes[MAX_HOLES], hole_count;

static const char DOWNLOAD[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
static const char REFUSAL[] = "HTTP/1.1 400 request changed on the way\r\nContent-Length: 0\r\n\r\n";

static void find_holes(void)
{
	for (size_t i = 0; i < reply.size; i++)
		if (reply.data[i] == '#' && hole_count < MAX_HOLES)
			holes[hole_count++] = i;
}

/* Digits of a linear congruential generator: anything that differs will do. */
static void fill_holes(void)
{
	static uint64_t state = 1;
	for (size_t i = 0; i < hole_count; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		reply.data[holes[i]] = (char)('0' + (state >> 33) % 10);
	}
}

static bool is_known(const char *body, size_t size)
{
	for (size_t i = 0; i < body_count; i++)
		if (bodies[i].size == size)
			return memcmp(bodies[i].data, body, size) == 0;
	return false;
}

/* The size of the whole request that `c` holds, or 0 while it is incomplete. */
static size_t whole_request(const struct client *c, size_t *head)
{
	const char *end = memmem(c->request, c->have, "\r\n\r\n", 4);
	if (!end)
		return 0;
	*head = (size_t)(end - c->request) + 4;
	long body = content_length(c->request, *head);
	size_t size = *head + (size_t)(body > 0 ? body : 0);
	return c->have >= size ? size : 0;
}

/* Sends what there is room for, and waits for more room; false when the client is gone. */
static bool send_download(struct client *c)
{
	static const char zeros[65536];
	ssize_t n = send(c->fd, zeros, sizeof zeros, MSG_NOSIGNAL);
	return n > 0 || errno == EAGAIN;
}

static bool begin_download(struct client *c)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	c->downloads = true;
	epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
	return send_all(c->fd, DOWNLOAD, sizeof DOWNLOAD - 1);
}

static bool answer(struct client *c, const char *body, size_t size)
{
	if (memcmp(c->request, "GET ", 4) == 0)
		return begin_download(c);
	if (!is_known(body, size))
		return send_all(c->fd, REFUSAL, sizeof REFUSAL - 1);
	fill_holes();
	return send_all(c->fd, reply.data, reply.size);
}

/* One read and what follows from it; false when the client is gone or makes no sense. */
static bool take_request(struct client *c)
{
	ssize_t n = recv(c->fd, c->request + c->have, REQUEST_ROOM - c->have, 0);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	c->have += (size_t)n;
	size_t head, size = whole_request(c, &head);
	if (!size)
		return c->have < REQUEST_ROOM;
	if (!answer(c, c->request + head, size - head))
		return false;
	c->have -= size;
	memmove(c->request, c->request + size, c->have);
	return true;
}

static bool serve(struct client *c, uint32_t events)
{
	if (c->downloads)
		return !(events & ~EPOLLOUT) && send_download(c); /* any more from the client means it left */
	return take_request(c);
}

static void accept_all(void)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *c = malloc(sizeof *c);
		if (!c)
			die("no memory");
		c->fd = fd;
		c->downloads = false;
		c->have = 0;
		no_delay(fd);
		watch(epoll, fd, EPOLLIN, c);
	}
}

static void dispatch(void *tag, uint32_t events)
{
	char discard[64];
	if (tag == &listener)
		accept_all();
	else if (!tag) {
		if (read(0, discard, sizeof discard) <= 0)
			exit(0);
	} else if (!serve(tag, events)) {
		close(((struct client *)tag)->fd);
		free(tag);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc - 2 > MAX_BODIES)
		die("usage: reply REPLY REQUEST_BODY...");
	start_up();
	reply = read_file(argv[1]);
	find_holes();
	for (int i = 2; i < argc; i++)
		bodies[body_count++] = read_file(argv[i]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(epoll, 0, EPOLLIN, NULL);
	listener = listen_somewhere();
	watch(epoll, listener, EPOLLIN, &listener);
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++)
			dispatch(events[i].data.ptr, events[i].events);
	}
}
