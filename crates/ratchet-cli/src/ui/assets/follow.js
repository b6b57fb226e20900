// Something that grows while it is looked at: asked for from where the last answer ended, until no more can come.

/**
 * Asks until it is stopped. `ask` takes in what came, and says whether more is there already; `failed` is given what kept it from that; `goesOn` says whether more may
 * come. `pause` is the time between two answers, in milliseconds. Gives what stops it.
 */
export function follow(source, pause, goesOn, ask, failed) {
  let stopped = false;
  const run = async () => {
    while (!stopped) {
      // Whether it goes on is asked before what came is, so that what comes last is not missed.
      const wasGoingOn = goesOn();
      let more = false;
      try {
        more = await ask();
      } catch (error) {
        failed(error);
        if (!source.isLive) return;
      }
      if (more) continue;
      if (!wasGoingOn) return;
      await new Promise((done) => setTimeout(done, pause));
    }
  };
  run();
  return () => (stopped = true);
}
