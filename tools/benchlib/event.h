/*
 * The one event of the streaming bench: 320 bytes, shaped like a chat completion chunk, all numbers
 * in fixed columns. It carries when it was due and when it was sent, so its receiver knows how long it
 * took, and its place in its stream, so a lost, doubled or altered byte cannot go unseen.
 */
#ifndef EVENT_H
#define EVENT_H

#include "bench.h"

enum { EVENT_SIZE = 320, NUMBER_WIDTH = 19 };

#define NUMBER_HOLE "0000000000000000000"

static const char EVENT_TEMPLATE[] =
	"data: {\"id\":\"chatcmpl-m2mtest\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
	"\"model\":\"bench\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	"\" word\"},\"logprobs\":null,\"finish_reason\":null}],\"due\":\"" NUMBER_HOLE "\",\"sent\":\"" NUMBER_HOLE
	"\",\"n\":\"" NUMBER_HOLE "\",\"obfuscation\":\"mZ4\"}\n\n";

_Static_assert(sizeof EVENT_TEMPLATE - 1 == EVENT_SIZE, "an event is 320 bytes");

struct event {
	int64_t due, sent, number;
};

static inline char *hole(char *event, const char *name)
{
	return strstr(event, name) + strlen(name);
}

struct holes {
	size_t due, sent, number;
};

static inline struct holes find_holes(void)
{
	char copy[EVENT_SIZE + 1];
	memcpy(copy, EVENT_TEMPLATE, sizeof copy);
	return (struct holes){.due = (size_t)(hole(copy, "\"due\":\"") - copy),
			      .sent = (size_t)(hole(copy, "\"sent\":\"") - copy),
			      .number = (size_t)(hole(copy, "\"n\":\"") - copy)};
}

static inline void put_number(char *at, int64_t value)
{
	for (int i = NUMBER_WIDTH - 1; i >= 0; i--, value /= 10)
		at[i] = (char)('0' + value % 10);
}

static inline int64_t get_number(const char *at)
{
	int64_t value = 0;
	for (int i = 0; i < NUMBER_WIDTH; i++)
		value = value * 10 + (at[i] - '0');
	return value;
}

static inline void write_event(char *out, struct holes holes, struct event event)
{
	memcpy(out, EVENT_TEMPLATE, EVENT_SIZE);
	put_number(out + holes.due, event.due);
	put_number(out + holes.sent, event.sent);
	put_number(out + holes.number, event.number);
}

/* Reads an event and proves that it is one: written again, it must give the same 320 bytes. */
static inline bool read_event(const char *in, struct holes holes, struct event *event)
{
	char again[EVENT_SIZE];
	event->due = get_number(in + holes.due);
	event->sent = get_number(in + holes.sent);
	event->number = get_number(in + holes.number);
	write_event(again, holes, *event);
	return memcmp(in, again, EVENT_SIZE) == 0;
}

#endif
