/* The frame's head of the control socket, as agent and CLI write it: two little-endian lengths. */
#ifndef CPA_AGENT_CONTROL_FRAME_H
#define CPA_AGENT_CONTROL_FRAME_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define CONTROL_HEAD 8
/* What an agent takes of a client, and a client of an agent. */
#define CONTROL_JSON_MAX (UINT32_C(1) << 20)
#define CONTROL_REPLY_JSON_MAX (UINT32_C(64) << 20)
#define CONTROL_DATA_MAX (UINT32_C(64) << 20)

static inline void control_head_put(uint8_t head[CONTROL_HEAD], uint32_t json_len, uint32_t data_len)
{
	uint32_t words[2] = { htole32(json_len), htole32(data_len) };

	memcpy(head, words, sizeof words);
}

static inline void control_head_get(const uint8_t head[CONTROL_HEAD], uint32_t *json_len, uint32_t *data_len)
{
	uint32_t words[2];

	memcpy(words, head, sizeof words);
	*json_len = le32toh(words[0]);
	*data_len = le32toh(words[1]);
}

#endif
