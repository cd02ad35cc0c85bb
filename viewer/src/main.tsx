import { options, render } from "preact";
import { App } from "./app";
import "./style.css";

// One update of the page a frame, however fast a pointer moves.
options.debounceRendering = (update) => void requestAnimationFrame(update);

render(<App />, document.getElementById("app")!);
