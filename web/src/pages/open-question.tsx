import { useRef } from "preact/hooks";
import { ConsentButton } from "../parts/consent-button";
import { Icon, kindIcon } from "../parts/icons";
import { Words } from "../parts/words";
import { onLink } from "../router";
import { mayKeep } from "../session/at-once";
import { ChooseView } from "../session/choose-view";
import type { Opening, Question } from "../session/opening";
import { ParamsForm } from "./params-dialog";

/** Asks what has to be known before a target is opened. */
export function OpenQuestion({ opening, question }: { opening: Opening; question: Question }) {
  const target = opening.target.value;
  if (target === undefined) return null;
  return (
    <div class="question panel">
      {question.what === "link" && <ByLink opening={opening} />}
      {question.what === "view" && <ChooseView title="How is this shown?" onChoose={(view) => void opening.chooseView(view)} />}
      {question.what === "params" && (
        <>
          <h2>Other values, please</h2>
          <ParamsForm target={target} button="Open" values={opening.params.value} onDone={(params) => void opening.fill(params)}
            error={`The host did not accept the values. ${question.error ?? ""}`} />
        </>
      )}
    </div>
  );
}

/** A link from elsewhere must not start a program by itself, so the person is asked. */
function ByLink({ opening }: { opening: Opening }) {
  const always = useRef<HTMLInputElement>(null);
  const { host, mode, target: name } = opening.wanted;
  const params = Object.entries(opening.params.value);
  const target = opening.target.value;
  return (
    <>
      <div class="question-head">
        <span class="tile"><Icon name={kindIcon(target?.kind ?? "", opening.view.value)} /></span>
        <div>
          <h2><Words text={target?.title ?? name} /></h2>
          <p class="muted"><Words text={name} mono /> on <Words text={host} />{mode === "ro" && ", read-only"}</p>
        </div>
      </div>
      {params.length > 0 && (
        <dl class="facts">
          {params.map(([key, value]) => <div key={key}><dt><Words text={key} /></dt><dd><Words text={value} mono /></dd></div>)}
        </dl>
      )}
      <p>A link wants to open this in your name.</p>
      {mayKeep(opening.wanted) && <label class="check"><input type="checkbox" ref={always} /> Do not ask for this target again</label>}
      <div class="dialog-buttons">
        <a class="button" href="./" onClick={onLink}>To the hosts</a>
        <ConsentButton class="button primary" onClick={() => void opening.agree(always.current?.checked === true)}>Open</ConsentButton>
      </div>
    </>
  );
}
