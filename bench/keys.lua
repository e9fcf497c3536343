-- wrk: every request carries one of KEYS tokens, X-Api-Key of 32 bytes.  A
-- stride that has no factor with KEYS visits all of them once in KEYS
-- requests, in no order that a cache would like.  OFFSET: where to begin.

local n = tonumber(os.getenv("KEYS"))
local at = tonumber(os.getenv("OFFSET")) * 7368787 % n
local head = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: k"
local tail = "-0123456789abcdef012345\r\n\r\n"

function request()
    at = (at + 7368787) % n
    return head .. (10000000 + at) .. tail
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("requests=%d errors=%d p50=%d p99=%d\n",
        summary.requests, e.status + e.connect + e.read + e.write + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
