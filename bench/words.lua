-- wrk: chat requests of about 1.1 KB in words, each another, as one who searches would find them.
local words = {}
for n = 1, 5000 do
  local letters = {}
  local rest = n * 7919
  for _ = 1, 3 + n % 6 do
    letters[#letters + 1] = string.char(97 + rest % 26)
    rest = math.floor(rest / 26) + n
  end
  words[n] = table.concat(letters)
end
local bodies = {}
function init()
  for n = 1, 997 do
    local said = {}
    local length = 0
    while length < 1024 do
      local word = words[math.floor(5000 ^ math.random())]
      said[#said + 1] = word
      length = length + #word + 1
    end
    bodies[n] = '{"model":"gpt-4o","messages":[{"role":"user","content":"' .. table.concat(said, " ") .. '"}]}'
  end
end
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-bench"
local count = 0
function request()
  count = count + 1
  return wrk.format(nil, nil, nil, bodies[count % 997 + 1])
end
