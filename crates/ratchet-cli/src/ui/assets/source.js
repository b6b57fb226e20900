// Where the page's data comes from: the server that gave the page, or the page itself. Both answer the same questions.

/** What an answer says went wrong. */
function failure(problem, status) {
  const error = new Error(problem?.message ?? `the server answered ${status}`);
  error.code = problem?.code;
  error.hint = problem?.hint;
  error.status = status;
  return error;
}

/** The path of an answer about an execution or one of its steps. */
export function path(id, step, part) {
  const execution = `executions/${encodeURIComponent(id)}`;
  const below = step ? `${execution}/steps/${encodeURIComponent(step)}` : execution;
  return part ? `${below}/${part}` : below;
}

/** The server. */
export function live() {
  const answered = async (request) => {
    const response = await request.catch(() => {
      throw failure({ message: "the server does not answer", hint: "`ratchet ui` starts it again, with a new address" }, 0);
    });
    if (response.ok) return response.json();
    const told = await response.json().catch(() => null);
    const hint = response.status === 401 ? "open the address that `ratchet ui` printed" : undefined;
    throw failure(told?.error ?? { message: `the server answered ${response.status}`, hint }, response.status);
  };
  return {
    isLive: true,
    get: (path, query) => {
      const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
      const words = new URLSearchParams(given).toString();
      return answered(fetch(`/api/${path}${words ? `?${words}` : ""}`));
    },
    post: (path, body) =>
      answered(
        fetch(`/api/${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
      ),
    download: (path) => `/api/${path}`,
    /** Tells of each change until it is stopped. A page that nobody looks at asks for nothing. */
    watch: (execution, tell, tellState) => {
      let events = null;
      const words = execution ? `?${new URLSearchParams({ execution })}` : "";
      const listen = () => {
        if (events || document.hidden) return;
        events = new EventSource(`/api/changes${words}`);
        events.addEventListener("changed", (event) => tell(JSON.parse(event.data)));
        events.onopen = () => tellState(true);
        events.onerror = () => tellState(false);
      };
      const rest = () => {
        events?.close();
        events = null;
      };
      const look = () => (document.hidden ? rest() : listen());
      document.addEventListener("visibilitychange", look);
      listen();
      return () => {
        document.removeEventListener("visibilitychange", look);
        rest();
      };
    },
  };
}

/** What stands in the page itself. */
export function inlined(data) {
  return {
    isLive: false,
    execution: data.execution,
    madeAt: data.made_at,
    get: async (path) => {
      const answer = data.answers[path];
      if (!answer) throw failure({ message: "this file does not hold that" }, 404);
      if (answer.error) throw failure(answer.error, 422);
      return answer;
    },
    post: async () => {
      throw failure({ message: "a file can do nothing" }, 405);
    },
    download: () => null,
    watch: () => () => {},
  };
}
