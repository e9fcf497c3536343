
/*
 * Scripts of a node; see prd_script_node.h.
 *
 * Keys live for as long as they can mean something, and a while longer:
 * PEXPIRE and PX count in milliseconds.  Nothing here trusts what a key
 * holds: what cannot be read counts as absent.
 */


#include "prd_script_node.h"


/*
 * A score ahead of the store's clock is one of a clock that has gone back
 * (another master's): it would live for ever.
 */

const prd_str_t  prd_script_node = prd_str(
"local T = redis.call('TIME')\n"
"local now = T[1] * 1000 + math.floor(T[2] / 1000)\n"
"local f = function(n) return string.format('%.0f', n) end\n"
"local new = redis.call('ZADD', KEYS[1], ARGV[2] == '0' and 0 or f(now),\n"
"                       ARGV[1])\n"
"redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. f(now - 3000))\n"
"redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. f(now + 3000), '+inf')\n"
"redis.call('PEXPIRE', KEYS[1], 60000)\n"
"local r = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf',\n"
"                     'LIMIT', 0, 256)\n"
"if new == 1 then r[#r + 1] = 'new' end\n"
"table.insert(r, 1, T[2])\n"
"table.insert(r, 1, T[1])\n"
"return r\n");


/*
 * Fields of the hash: l the level, t its time, and what each node holds, with
 * the time when it said so.  Who has said nothing for two seconds holds
 * nothing any more: it was debited, so nobody gets it twice.
 */

const prd_str_t  prd_script_pool = prd_str(
"local id = ARGV[1]\n"
"local a = {}\n"
"for i = 2, 8 do a[i] = tonumber(ARGV[i]) end\n"
"local nodes, per, full = a[2], a[3], a[4]\n"
"local held, returned, debt, pace = a[5], a[6], a[7], a[8]\n"
"if nodes < 1 then nodes = 1 end\n"
"local T = redis.call('TIME')\n"
"local now = T[1] * 1000 + math.floor(T[2] / 1000)\n"
"local h = redis.call('HGETALL', KEYS[1])\n"
"local level, at, sum, gone = full, now, 0, {}\n"
"for i = 1, #h, 2 do\n"
"    local k, v = h[i], h[i + 1]\n"
"    if k == 'l' then level = tonumber(v) or full\n"
"    elseif k == 't' then at = tonumber(v) or now\n"
"    elseif k ~= id then\n"
"        local n, ms = string.match(v, '^(%d+) (%d+)$')\n"
"        if n and math.abs(now - ms) < 2000 then sum = sum + n\n"
"        else gone[#gone + 1] = k end\n"
"    end\n"
"end\n"
"if level ~= level then level = full end\n"
"local dt = math.max(0, math.min(now - at, 20000))\n"
"level = math.min(level + dt * per + returned, full - sum - held) - debt\n"
"level = math.max(level, -full)\n"
"local room = level + full\n"
"local want = math.min(math.max(4 * pace, room / 2 / nodes), full) - held\n"
"local grant = math.floor(math.max(0, math.min(want, room / nodes)))\n"
"level = level - grant\n"
"held = held + grant\n"
"local f = function(n) return string.format('%.0f', n) end\n"
"redis.call('HSET', KEYS[1], 'l', f(level), 't', f(now),\n"
"           id, f(held) .. ' ' .. f(now))\n"
"for i = 1, math.min(#gone, 100) do\n"
"    redis.call('HDEL', KEYS[1], gone[i])\n"
"end\n"
"redis.call('PEXPIRE', KEYS[1], 60000)\n"
"return { grant, level, level + sum + held }\n");


/*
 * A table outlives its node by ten minutes; the last one that any node wrote,
 * and since when the zone has learned, by two weeks: nodes that all begin anew
 * find what there was.
 */

const prd_str_t  prd_script_table = prd_str(
"local now = tonumber(redis.call('TIME')[1])\n"
"local since = now - math.max(0, tonumber(ARGV[2]) or 0)\n"
"local v = redis.pcall('GET', KEYS[2])\n"
"v = type(v) == 'string' and tonumber(v)\n"
"if v and v > 0 and v < since then since = v end\n"
"if ARGV[1] ~= '' then\n"
"    redis.call('SET', KEYS[1], ARGV[1], 'PX', 600000)\n"
"    redis.call('SET', KEYS[3], ARGV[1], 'PX', 1209600000)\n"
"    redis.call('SET', KEYS[2], string.format('%.0f', since),\n"
"               'PX', 1209600000)\n"
"end\n"
"local r = { string.format('%.0f', now - since) }\n"
"for i = 3, #KEYS do\n"
"    v = redis.pcall('GET', KEYS[i])\n"
"    r[#r + 1] = type(v) == 'string' and v or false\n"
"end\n"
"return r\n");


/*
 * A client's value: version u8, the bucket (24 bytes that are the lease's),
 * since its home looked last: admitted cost u32, of which was denied (401,
 * 403) u32, peak u32; then
 * version of the envelope u16, envelope u64, profile.  Offsets as Lua counts.
 */

#define PRD_VALUE                                                             \
"local SIZE, COUNTS, VERSION = 47, 26, 38\n"                                 \
"local get = function(key)\n"                                                \
"    local v = redis.pcall('GET', key)\n"                                    \
"    if type(v) == 'string' and #v >= SIZE and string.byte(v) == 1 then\n"   \
"        return v\n"                                                         \
"    end\n"                                                                  \
"end\n"


/*
 * The set names who was active; a client that is gone meanwhile, or moves to
 * another server of a cluster, is found when it comes back.
 */

const prd_str_t  prd_script_take = prd_str(PRD_VALUE
"local pre = string.sub(KEYS[1], 1, -4)\n"
"local m = redis.call('SPOP', KEYS[1], ARGV[1])\n"
"local out = {}\n"
"for i = 1, #m do\n"
"    local v = #m[i] == 16 and get(pre .. m[i])\n"
"    if v then\n"
"        local profile = string.sub(v, SIZE + 1, SIZE + 255)\n"
"        local admitted, denied, peak = struct.unpack('<I4I4I4', v, COUNTS)\n"
"        local rest = math.max(denied - admitted, 0)\n"
"        admitted = math.max(admitted - denied, 0)\n"
"        if denied > 0 then\n"
"            peak = admitted > 0 and math.max(peak - denied,\n"
"                                             math.min(peak, admitted)) or 0\n"
"        end\n"
"        local version = struct.unpack('<I2', v, VERSION)\n"
"        out[#out + 1] = struct.pack('<c16I4I4I2B', m[i], admitted, peak,\n"
"                                    version, #profile) .. profile\n"
"        redis.call('SET', pre .. m[i], string.sub(v, 1, COUNTS - 1)\n"
"                   .. struct.pack('<I4I4I4', 0, rest, 0)\n"
"                   .. string.sub(v, COUNTS + 12),\n"
"                   'KEEPTTL')\n"
"    end\n"
"end\n"
"local left = math.min(redis.call('SCARD', KEYS[1]), 65535)\n"
"return struct.pack('<BBI2', 1, #out, left) .. table.concat(out)\n");


/*
 * What is learned lives for longer than a bucket: two weeks where the trust is
 * that of a known client, else an hour.  A value that has gone since it was
 * taken stays away, version 0.
 */

const prd_str_t  prd_script_publish = prd_str(PRD_VALUE
"local out = {}\n"
"for i = 1, #KEYS do\n"
"    local r = string.sub(ARGV[1], i * 54 - 53, i * 54)\n"
"    local v = get(KEYS[i])\n"
"    local version = 0\n"
"    if v then\n"
"        version = struct.unpack('<I2', v, VERSION) % 65535 + 1\n"
"        v = string.sub(v, 1, VERSION - 1) .. struct.pack('<I2', version)\n"
"            .. r\n"
"        local known = string.byte(r, 6) >= 48\n"
"        redis.call('SET', KEYS[i], v, 'PX', known and 1209600000 or 3600000)\n"
"    end\n"
"    out[i] = struct.pack('<I2', version)\n"
"end\n"
"return table.concat(out)\n");
