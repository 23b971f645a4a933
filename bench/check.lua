-- wrk's script: requests from a file, in turn; every answer's status and length are looked at.
-- The file holds for each request a line with its length, then its bytes. Arguments: the file, the length of an answer's body.
local threads, requests, at = {}, {}, 0

function setup(thread) table.insert(threads, thread) end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  length, wrong, first = tonumber(args[2]), 0, ""
  for line in function() return file:read("*l") end do table.insert(requests, file:read(tonumber(line))) end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, headers, body)
  if status ~= 200 or #body ~= length then
    wrong = wrong + 1
    if first == "" then first = status .. ", " .. #body .. " bytes: " .. body:sub(1, 300):gsub("%s+", " ") end
  end
end

function done(summary, latency)
  local wrong, first, e = 0, "", summary.errors
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    first = first .. thread:get("first")
  end
  io.write(string.format("RESULT %d %d %d %d\n%s\n", summary.requests, summary.duration, wrong,
    e.connect + e.read + e.write + e.status + e.timeout, first))
end
