-- METHOD PATH CONTENT-TYPE CONTENT-DISPOSITION FILE: send FILE's content; {name} in PATH becomes a UUID each time.

local function uuid()
  local r = math.random
  return string.format("%04x%04x-%04x-4%03x-8%03x-%04x%04x%04x", r(0, 0xffff), r(0, 0xffff), r(0, 0xffff),
    r(0, 0xfff), r(0, 0xfff), r(0, 0xffff), r(0, 0xffff), r(0, 0xffff))
end

function init(args)
  local path = args[2]
  wrk.method, wrk.path = args[1], path
  wrk.headers["Content-Type"] = args[3]
  wrk.headers["Content-Disposition"] = args[4]
  wrk.body = assert(io.open(args[5], "rb")):read("*a")
  if path:find("{name}", 1, true) then
    math.randomseed(os.time())
    request = function()
      return wrk.format(nil, (path:gsub("{name}", uuid())))
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"uploads": %d, "microseconds": %d, "p99": %d, "failed": %d}\n', summary.requests,
    summary.duration, latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
