/*
 * Just enough HTTP/2 (RFC 9113) for a client of the bench: one cleartext connection with prior
 * knowledge, frames in and out, and credit for what was read. Header compression is left out: requests
 * come as ready blocks (messages.py), and of a reply's block only the first field is read, which for
 * `:status: 200` is the byte 0x88 in every encoder. Whatever a healthy server would not send (RST_STREAM,
 * GOAWAY, another status) ends the program with exit 1.
 */
#ifndef H2_H
#define H2_H

#include "bench.h"

enum h2_type { H2_DATA, H2_HEADERS, H2_RST_STREAM = 3, H2_SETTINGS, H2_PING = 6, H2_GOAWAY, H2_WINDOW_UPDATE };
enum { H2_ACK = 1, H2_END_STREAM = 1, H2_END_HEADERS = 4, H2_PADDED = 8, H2_PRIORITY = 32 };
enum { H2_HEAD = 9, H2_WINDOW = 65535, H2_FRAME_MAX = 16384 };

struct h2_frame {
	enum h2_type type;
	int flags;
	uint32_t stream;
	size_t size;   /* of the payload, without padding */
	size_t weight; /* what it takes from the windows: with padding */
	const char *payload;
};

struct h2 {
	int fd;
	uint32_t next_stream;
	int64_t room;    /* what the peer lets us send on the connection */
	int64_t read_at; /* when the last read had its bytes */
	size_t unread, have;
	char in[8 * (H2_HEAD + H2_FRAME_MAX)];
};

static inline uint32_t h2_number(const char *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return ntohl(value);
}

static inline void h2_send(struct h2 *c, enum h2_type type, int flags, uint32_t stream, const char *payload,
			   size_t size)
{
	char frame[H2_HEAD + H2_FRAME_MAX];
	uint32_t id = htonl(stream);
	if (size > H2_FRAME_MAX)
		die("a frame of %zu bytes", size);
	memcpy(frame, (char[]){(char)(size >> 16), (char)(size >> 8), (char)size, (char)type, (char)flags}, 5);
	memcpy(frame + 5, &id, 4);
	if (size)
		memcpy(frame + H2_HEAD, payload, size);
	if (!send_all(c->fd, frame, H2_HEAD + size))
		die("cannot send: %s", strerror(errno));
}

/* Gives the window of `stream` (0: of the connection) back what it has lost. */
static inline void h2_credit(struct h2 *c, uint32_t stream, size_t size)
{
	uint32_t value = htonl((uint32_t)size);
	h2_send(c, H2_WINDOW_UPDATE, 0, stream, (const char *)&value, 4);
}

static inline void h2_open(struct h2 *c, int port)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	c->fd = connect_to(port);
	c->next_stream = 1;
	c->room = H2_WINDOW;
	if (c->fd < 0 || !send_all(c->fd, preface, sizeof preface - 1))
		die("connect to port %d: %s", port, strerror(errno));
	h2_send(c, H2_SETTINGS, 0, 0, NULL, 0);
}

/* Sends a request on a new stream, whose number it returns. A body must have room: see `room`. */
static inline uint32_t h2_request(struct h2 *c, struct text block, struct text body)
{
	uint32_t stream = c->next_stream;
	c->next_stream += 2;
	h2_send(c, H2_HEADERS, H2_END_HEADERS | (body.size ? 0 : H2_END_STREAM), stream, block.data, block.size);
	if (body.size)
		h2_send(c, H2_DATA, H2_END_STREAM, stream, body.data, body.size);
	c->room -= (int64_t)body.size;
	return stream;
}

/* One read; false when there was nothing to read. */
static inline bool h2_read(struct h2 *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, 0);
	c->read_at = now_ns();
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		die("connection lost: %s", n ? strerror(errno) : "closed by the server");
	c->have += (size_t)n;
	return true;
}

static inline void h2_strip(struct h2_frame *f)
{
	size_t front = f->flags & H2_PADDED ? 1 : 0;
	size_t padding = front ? (unsigned char)f->payload[0] : 0;
	if (f->type == H2_HEADERS && f->flags & H2_PRIORITY)
		front += 5;
	if (front + padding > f->size)
		die("stream %u: more padding than frame", f->stream);
	f->payload += front;
	f->size -= front + padding;
}

/* A reply's head must be a 200; an interim head or trailers are not expected here. */
static inline void h2_check_head(const struct h2_frame *f)
{
	size_t at = 0;
	while (at < f->size && ((unsigned char)f->payload[at] & 0xe0) == 0x20) /* a table size update */
		at++;
	if (!(f->flags & H2_END_HEADERS) || at == f->size || (unsigned char)f->payload[at] != 0x88)
		die("stream %u: not a 200", f->stream);
}

/* What concerns the connection and not the program. */
static inline void h2_answer(struct h2 *c, const struct h2_frame *f)
{
	switch (f->type) {
	case H2_SETTINGS:
		if (!(f->flags & H2_ACK))
			h2_send(c, H2_SETTINGS, H2_ACK, 0, NULL, 0);
		break;
	case H2_PING:
		if (!(f->flags & H2_ACK))
			h2_send(c, H2_PING, H2_ACK, 0, f->payload, f->size);
		break;
	case H2_WINDOW_UPDATE:
		if (!f->stream)
			c->room += h2_number(f->payload);
		break;
	case H2_RST_STREAM:
		die("stream %u: reset by the server, error %u", f->stream, h2_number(f->payload));
	case H2_GOAWAY:
		die("GOAWAY from the server, error %u", h2_number(f->payload + 4));
	default:
		break;
	}
}

/* Credit for the connection in one piece for each half of its window. */
static inline void h2_account(struct h2 *c, size_t weight)
{
	c->unread += weight;
	if (c->unread < H2_WINDOW / 2)
		return;
	h2_credit(c, 0, c->unread);
	c->unread = 0;
}

/* The frame at `from` in what was read; false while it is not whole. */
static inline bool h2_parse(const struct h2 *c, size_t from, struct h2_frame *f)
{
	const char *at = c->in + from;
	if (c->have - from < H2_HEAD)
		return false;
	f->size = f->weight = h2_number(at) >> 8;
	if (memcmp(at, "HTTP/", 5) == 0 || f->size > H2_FRAME_MAX)
		die("not HTTP/2: %.20s", at);
	f->type = (unsigned char)at[3];
	f->flags = (unsigned char)at[4];
	f->stream = h2_number(at + 5) & 0x7fffffff;
	f->payload = at + H2_HEAD;
	return c->have - from >= H2_HEAD + f->size;
}

/* Reads once and hands every HEADERS and DATA frame to `take`; false when there was nothing. */
static inline bool h2_receive(struct h2 *c, void (*take)(const struct h2_frame *))
{
	struct h2_frame f;
	size_t done = 0;
	if (!h2_read(c))
		return false;
	for (; h2_parse(c, done, &f); done += H2_HEAD + f.weight) {
		if (f.type != H2_DATA && f.type != H2_HEADERS) {
			h2_answer(c, &f);
			continue;
		}
		if (f.type == H2_DATA)
			h2_account(c, f.weight);
		h2_strip(&f);
		if (f.type == H2_HEADERS)
			h2_check_head(&f);
		take(&f);
	}
	c->have -= done;
	memmove(c->in, c->in + done, c->have);
	return true;
}

#endif
