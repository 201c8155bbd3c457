-- wrk: a chat request of about 1.1 KB.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-bench"
wrk.body = '{"model":"gpt-bench","messages":[{"role":"user","content":"' .. string.rep("q", 1024) .. '"}]}'
