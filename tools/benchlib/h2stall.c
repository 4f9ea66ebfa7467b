/*
 * Request load on one HTTP/2 connection, beside a download that nobody reads.
 *
 *     h2stall PORT STREAMS CHAT_BLOCK CHAT_BODY EXPECTED_BODY [DOWNLOAD_BLOCK]
 *
 * With DOWNLOAD_BLOCK, its reply is opened first and its stream's window never renewed: it stands still
 * when 65,535 bytes have come, while the connection gets its credit for them, so that by the protocol
 * nothing holds up the other streams. Prints {"ready": N} then. For each line `run SECONDS` on stdin it
 * keeps STREAMS requests out for that long, a new one for each reply, and says how many replies came,
 * each compared byte for byte. Leaves at the end of stdin.
 */
#define _GNU_SOURCE
#include "h2.h"

enum { REPLY_ROOM = 16384 };

struct slot {
	uint32_t stream; /* 0 while idle */
	size_t have;
	char reply[REPLY_ROOM];
};

static struct h2 connection;
static struct slot *slots;
static size_t slot_count, busy;
static struct text chat_block, chat_body, expected;
static uint32_t download;
static size_t downloaded;
static uint64_t replies;

static void take_download(const struct h2_frame *f)
{
	downloaded += f->type == H2_DATA ? f->weight : 0;
	if (downloaded > H2_WINDOW)
		die("the download went on beyond its window");
	if (f->flags & H2_END_STREAM)
		die("the download ended after %zu bytes", downloaded);
}

static struct slot *find(uint32_t stream)
{
	for (size_t i = 0; i < slot_count; i++)
		if (slots[i].stream == stream)
			return &slots[i];
	die("stream %u: not open", stream);
}

static void take_data(struct slot *s, const struct h2_frame *f)
{
	if (s->have + f->size > REPLY_ROOM)
		die("stream %u: endless reply", f->stream);
	memcpy(s->reply + s->have, f->payload, f->size);
	s->have += f->size;
}

static void take(const struct h2_frame *f)
{
	if (f->stream == download) {
		take_download(f);
		return;
	}
	struct slot *s = find(f->stream);
	if (f->type == H2_DATA)
		take_data(s, f);
	if (!(f->flags & H2_END_STREAM))
		return;
	if (s->have != expected.size || memcmp(s->reply, expected.data, expected.size) != 0)
		die("stream %u: body differs: %.*s", f->stream, (int)(s->have < 60 ? s->have : 60), s->reply);
	s->stream = 0;
	busy--;
	replies++;
}

static void receive(void)
{
	if (!h2_receive(&connection, take))
		die("nothing came for ten seconds, %zu requests are out", busy);
}

static void fill(void)
{
	for (size_t i = 0; i < slot_count && busy < slot_count; i++) {
		if (slots[i].stream)
			continue;
		if (connection.room < (int64_t)chat_body.size)
			return;
		slots[i].have = 0;
		slots[i].stream = h2_request(&connection, chat_block, chat_body);
		busy++;
	}
}

static void run(double seconds)
{
	int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
	replies = 0;
	do {
		fill();
		receive();
	} while (now_ns() < end);
	while (busy)
		receive();
	printf("{\"requests\": %llu, \"seconds\": %.6f}\n", (unsigned long long)replies,
	       (double)(now_ns() - start) / 1e9);
}

static void stall(const char *path)
{
	download = h2_request(&connection, read_file(path), (struct text){0});
	while (downloaded < H2_WINDOW)
		receive();
}

int main(int argc, char **argv)
{
	if (argc < 6)
		die("usage: h2stall PORT STREAMS CHAT_BLOCK CHAT_BODY EXPECTED_BODY [DOWNLOAD_BLOCK]");
	start_up();
	slot_count = (size_t)atoi(argv[2]);
	chat_block = read_file(argv[3]);
	chat_body = read_file(argv[4]);
	expected = read_file(argv[5]);
	slots = calloc(slot_count, sizeof *slots);
	if (!slots)
		die("no memory");
	h2_open(&connection, atoi(argv[1]));
	if (argc > 6)
		stall(argv[6]);
	printf("{\"ready\": %zu}\n", slot_count);

	char line[128];
	double seconds;
	while (fgets(line, sizeof line, stdin))
		if (sscanf(line, "run %lf", &seconds) == 1)
			run(seconds);
	return 0;
}
