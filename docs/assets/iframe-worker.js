// A page opened from the disk may start no worker. Where that is so, the site's search runs its
// worker's script in a hidden frame instead, which stands in for the worker. Everywhere, the search
// takes words such as --samples as they are, where its query language reads signs of its own.

const plain = (message) => (typeof message?.data === "string"
  ? { ...message, data: message.data.replace(/(^|\s)[-+]+(?=\S)/g, "$1") } : message);

if (window.Worker) {
  const send = window.Worker.prototype.postMessage;
  window.Worker.prototype.postMessage = function (message, ...rest) {
    return send.call(this, plain(message), ...rest);
  };
}

if (window.location.protocol === "file:") {
  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.IFrameWorker = FrameWorker;
      inside.importScripts = (...urls) => urls.reduce(
        (before, one) => before.then(() => load(inside.document, one)), Promise.resolve());
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      load(inside.document, url).then(() => {
        this.inside = inside;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
    }

    postMessage(message) {
      const data = plain(message);
      if (!this.inside) {
        this.waiting.push(data);
        return;
      }
      const event = new this.inside.MessageEvent("message", { data });
      this.inside.dispatchEvent(event);
      if (this.inside.onmessage) this.inside.onmessage(event);
    }

    terminate() {
      this.inside = null;
    }
  }

  const load = (page, url) => new Promise((done, failed) => {
    const script = page.createElement("script");
    script.src = url;
    script.onload = done;
    script.onerror = failed;
    page.body.append(script);
  });

  window.IFrameWorker = FrameWorker;
  window.Worker = FrameWorker;
}
