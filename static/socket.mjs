// A WebSocket to the line.

/** Where none can be made (an old browser, an extension, a policy), what ends as one that is blocked on its way would. */
export function openSocket(url, WebSocket = globalThis.WebSocket) {
  try {
    return new WebSocket(url, "waitroom.v1");
  } catch {
    const none = { readyState: 0, close() {} };
    setTimeout(() => {
      none.readyState = 3;
      none.onclose?.({ code: 1006 });
    }, 0);
    return none;
  }
}
